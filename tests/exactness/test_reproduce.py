"""`runs.py reproduce` brings the recorded code, threads and paths back, and finds the first number that differs.

Each repetition is a new interpreter, some seven seconds: few of them show much each.
"""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.launching import ROOT, TIMEOUT_SECONDS, Place, environment, write_corpus
from tests.repositories import git

NAME = "first"
GOAL = ("--training_goal", "6", "--eval_interval", "3", "--save_interval", "3")
MASKING, SHARES = "dlib/objectives/mlm.py", "dlib/objectives/shares.py"
STAGED = "dlib/objectives/staged.py"
ALL_THE_SAME = "hardware: the same\npackages: the same\ndata: the same\ncode: the same\n"


def python(repository: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs a script of the project in `repository`."""
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=repository, env=environment() | variables, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )


def reproduce(repository: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Repeats the run; the number of threads that this shell asks for is not the run's."""
    return python(repository, "runs.py", "reproduce", f"runs/{NAME}", *words, OMP_NUM_THREADS="2")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as it stands, in a repository of its own, and a run of code with a share that no commit holds.

    Texts and cache are where git ignores them, and the run names them as they are seen from its repository.
    """
    root = tmp_path_factory.mktemp("reproduce") / "repository"
    for name in filter(None, git(ROOT, "ls-files", "-co", "--exclude-standard", "-z").split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    write_corpus(root / "data")
    change(root / MASKING, "\nMASKED_SHARE, RANDOM_SHARE = 0.8, 0.1", "\nMASKED_SHARE, RANDOM_SHARE = SHARES")
    change(root / MASKING, "import numpy", "from dlib.objectives.shares import SHARES\nimport numpy")
    (root / SHARES).write_text("SHARES = 0.5, 0.2\n")
    (root / STAGED).write_text("# staged, and not committed\n")
    git(root, "add", STAGED)
    place = Place(Path("data"), Path("cache"), Path("runs"))
    result = python(root, "train.py", *place.arguments(NAME, *GOAL))
    assert result.returncode == 0, result.stderr
    (root / SHARES).unlink()
    git(root, "rm", "--force", "--quiet", STAGED)
    git(root, "checkout", MASKING)
    git(root, "commit", "--allow-empty", "-m", "second")
    return root


def change(path: Path, old: str, new: str) -> None:
    """Changes a word of a file, once."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def left_behind(repository: Path) -> list[str]:
    """Working trees beside the repository's own."""
    return git(repository, "worktree", "list").splitlines()[1:]


@pytest.mark.oldest
def test_recorded_code_and_data_give_the_same_bits(repository: Path) -> None:
    result = reproduce(repository)
    assert result.stdout == f"{ALL_THE_SAME}identical for 6 steps, with the checkpoints of steps 3, 6\n", result.stderr
    assert result.returncode == 0
    assert left_behind(repository) == []


def test_a_change_of_the_code_that_changes_numbers_is_found_at_the_first_step(repository: Path, tmp_path: Path) -> None:
    result = reproduce(repository, "--present_code", "--steps", "2", "--keep", str(tmp_path / "kept"))
    lines = result.stdout.splitlines()
    assert lines[:3] == ALL_THE_SAME.splitlines()[:3], result.stderr
    assert lines[3].startswith("code: changed: commit ")
    assert lines[3].endswith(f", uncommitted changes, {SHARES}")
    assert lines[4].startswith("differs at step 1: train/loss ")
    assert result.returncode == 1
    assert (tmp_path / "kept" / NAME / "metrics.jsonl").is_file()


def test_a_changed_text_is_named_and_the_first_number_that_it_changes(repository: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "data")
    change(tmp_path / "data" / "dev.txt", "the", "those")
    result = reproduce(repository, "-d", str(tmp_path / "data"))
    assert "\ndata: changed: development text\n" in result.stdout, result.stderr
    assert result.stdout.splitlines()[-1].startswith("differs at step 3: dev/loss ")
    assert result.returncode == 1


@pytest.fixture
def run(repository: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder, to be spoiled."""
    shutil.copytree(repository / "runs" / NAME, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def test_a_repetition_that_cannot_run_is_one_clear_line(repository: Path, run: Path) -> None:
    change(run / "config.yml", "learning_rate: 0.01", "learning_rate: high")
    result = python(repository, "runs.py", "reproduce", str(run))
    told = f"{run}/config.yml: optim.learning_rate: 'high' is not a number"
    assert result.stderr.splitlines()[-1] == f"error: the repetition ended with status 2: {told}"
    assert (result.returncode, result.stdout) == (2, "")
    assert left_behind(repository) == []


def test_a_commit_that_is_gone_is_one_clear_line(repository: Path, run: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD~1").strip()
    change(run / "record.json", commit, "1" * 40)
    result = python(repository, "runs.py", "reproduce", str(run))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"error: commit {'1' * 40} of run 'run' is not in this repository: fetch it")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_process_and_no_working_tree(repository: Path, number: signal.Signals) -> None:
    with repeating(repository) as process:
        wait_until(lambda: bool(left_behind(repository)) and bool(children(process.pid)))
        (child,) = children(process.pid)
        process.send_signal(number)
        assert process.wait(TIMEOUT_SECONDS) == 128 + number
    wait_until(lambda: not Path(f"/proc/{child}").exists())
    assert left_behind(repository) == []


@contextmanager
def repeating(repository: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A running `runs.py reproduce`."""
    command = [sys.executable, "runs.py", "reproduce", f"runs/{NAME}"]
    with subprocess.Popen(command, cwd=repository, env=environment(), stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    """Processes of Python that a process has started."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(word) for word in words if b"train.py" in Path(f"/proc/{word}/cmdline").read_bytes()]


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
