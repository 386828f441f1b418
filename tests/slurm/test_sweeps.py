"""A sweep as an array of a real SLURM: what was killed, or never began, the same command again finishes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlib.launch.snapshot import remove_snapshot
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from dlib.runs.record import read_record
from tests.launching import ROOT, Place, environment

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
STEPS, POINTS, AT_A_TIME = 8, 12, 3
LIMIT_SECONDS = 500
CLUSTER = f"--submit slurm --limit {AT_A_TIME} --gpus_per_node 0 --cpus_per_task 1 --time 00:10:00".split()


@pytest.fixture(scope="module")
def sweep(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six points with two seeds each, over the tiny run of all tests."""
    folder = tmp_path_factory.mktemp("sweep", numbered=False)
    grid = {"learning_rate": [1e-3, 3e-3, 1e-2], "weight_decay": [0, 0.1]}
    (folder / "dozen.json").write_text(json.dumps({"grid": grid, "repeat": 2}))
    return folder / "dozen.json"


def start(*words: str) -> "subprocess.CompletedProcess[str]":
    """Runs `sweep.py`."""
    command = [sys.executable, "sweep.py", *words]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT_SECONDS)


def submit(sweep: Path, place: Place) -> "subprocess.CompletedProcess[str]":
    """Submits what is due, with the arguments of a tiny run for all points."""
    own = place.arguments("x", "--training_goal", str(STEPS), "--eval_interval", "4", "--save_interval", "2")
    for flag in ("-n", "--out_dir", "--learning_rate"):
        del own[own.index(flag) : own.index(flag) + 2]
    return start(str(sweep), *CLUSTER, "--out_dir", str(sweep.parent / "runs"), "--", *own)


def states(sweep: Path) -> list[str]:
    """Where each point stands."""
    answer = start("status", str(sweep), "--json", "--out_dir", str(sweep.parent / "runs"))
    return [json.loads(line)["state"] for line in answer.stdout.splitlines()]


def job_of(answer: "subprocess.CompletedProcess[str]") -> str:
    """The number of the job that was submitted."""
    assert answer.returncode == 0, answer.stderr
    return answer.stderr.rsplit("\njob ", 1)[1].partition(":")[0]


def tasks(job: str) -> list[str]:
    """The states of an array's tasks that are still in the queue."""
    words = ["squeue", "--noheader", "--array", "--job", job, "--format", "%T"]
    return subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_SECONDS).stdout.split()


def most_until(job: str, condition: Callable[[], bool]) -> int:
    """Waits until something is so, and returns how many tasks of a job ran at a time at most."""
    deadline, most = time.monotonic() + LIMIT_SECONDS, 0
    while not condition():
        assert time.monotonic() < deadline
        most = max(most, tasks(job).count("RUNNING"))
        time.sleep(1)
    return most


@pytest.fixture
def cancelled_at_the_end(sweep: Path) -> Iterator[None]:
    """Leaves no job and no working tree behind."""
    yield
    subprocess.run(["scancel", "--name", sweep.stem], timeout=LIMIT_SECONDS)
    remove_snapshot(ROOT, sweep.parent / "runs" / ".sweeps" / sweep.stem / "code")  # git knows of it


@pytest.mark.usefixtures("cancelled_at_the_end")
def test_a_dozen_points_of_an_array_are_finished_once_each_though_it_was_killed(
    sweep: Path, session_place: Place
) -> None:
    job = job_of(submit(sweep, session_place))
    assert most_until(job, lambda: "finished" in states(sweep)) <= AT_A_TIME
    assert f"has job {job}" in submit(sweep, session_place).stderr, "a second array beside the first"
    for words in (["--signal=KILL", "--full", job], [job]):
        subprocess.run(["scancel", *words], timeout=LIMIT_SECONDS)
    most_until(job, lambda: not tasks(job))
    finished = states(sweep).count("finished")
    assert 0 < finished < POINTS
    second = submit(sweep, session_place)
    assert f"{POINTS - finished} points" in second.stderr
    job = job_of(second)
    assert most_until(job, lambda: not tasks(job)) == AT_A_TIME
    assert states(sweep) == ["finished"] * POINTS
    for run in map(RunFolder, (sweep.parent / "runs").glob("dozen-*")):
        assert [record["step"] for record in read_metrics(run.metrics)] == list(range(1, STEPS + 1))
        record = read_record(run)
        assert record is not None
        assert len(record["sessions"]) <= 1, "one more where it was killed"
    assert "12 finished" in submit(sweep, session_place).stderr
