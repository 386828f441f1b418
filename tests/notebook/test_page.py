"""What docs/python.md shows works as it stands, in one session, far from the clone; and what goes wrong is told."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest

from dlib.args import BatchArgs, DataArgs, ExperimentArgs, ModelArgs, RunArgs, TrackingArgs
from dlib.config.command_line import parse_flags
from dlib.config.configuration import load_config, parse_args
from dlib.notebook import load_run, train
from dlib.notebook.run import as_frame
from dlib.notebook.training import flags_of_args
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from tests.extending.page import FENCED
from tests.launching import ROOT, TIMEOUT_SECONDS, Place, environment, recorded_steps

PAGE = ROOT / "docs" / "python.md"
SESSION = "\n".join(code for _, language, code in FENCED.findall(PAGE.read_text("utf-8")) if language == "python")
ON_TOP = ["import sys", "assert not {'torch', 'pandas'} & {*sys.modules}"]
AT_ITS_END = [
    "assert run.args.run == RunArgs(name='first')",
    "assert list(metrics.index) == [1, 10, 20]",
    "assert losses[hardest] == max(losses.values())",
    "assert all(weight.grad is not None for weight in model.parameters())",
    "print('the last line', file=sys.stderr)",
]


def run_python(lines: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script in a folder, with dlib installed."""
    script = folder / "session.py"
    script.write_text("\n".join(lines), encoding="utf-8")
    installed = {**environment(), "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=installed, capture_output=True, text=True, timeout=300
    )


def test_the_session_of_the_page_runs_as_it_stands_and_says_no_more_than_the_training(
    place: Place, tmp_path: Path
) -> None:
    for name, target in (("data", place.data), ("configs", ROOT / "configs")):
        (tmp_path / name).symlink_to(target)
    imports, *rest = SESSION.partition("\nargs = ")
    result = run_python([imports, *ON_TOP, "".join(rest), *AT_ITS_END], tmp_path)
    assert result.returncode == 0, result.stderr
    *_, before, last = result.stderr.splitlines()
    assert (before.startswith("model: "), last) == (True, "the last line")


@pytest.mark.parametrize(
    "args",
    [
        ExperimentArgs(run=RunArgs("x")),
        ExperimentArgs(
            run=RunArgs("x", seed=7),
            data=DataArgs(train=["a.txt:0.5", "b b.txt:0.5"], line_by_line=True, exclude=["test.txt"]),
            model=ModelArgs(model="${not}/a variable", model_overrides=["hidden_size=32"]),
            batch=BatchArgs(max_tokens_per_batch=512),
        ),
    ],
)
def test_arguments_are_flags_that_make_the_same_arguments(args: ExperimentArgs) -> None:
    assert load_config([], parse_flags(flags_of_args(args), "").overrides) == args


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (ExperimentArgs(), "run.name is missing"),
        (ExperimentArgs(run=RunArgs("x"), batch=BatchArgs(batch_size=0)), "--batch_size"),
        (
            ExperimentArgs(run=RunArgs("x"), tracking=TrackingArgs(wandb_tags=["a,b"])),
            "tracking.wandb_tags: .* cannot be",
        ),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_started(args: ExperimentArgs, told: str) -> None:
    with pytest.raises(UserError, match=told):
        flags_of_args(args)


def test_an_interrupt_stops_the_training_with_everything_saved(place: Place, tmp_path: Path) -> None:
    args = parse_args(place.arguments("run", "--training_goal", "100000", "--progress", "false"), description="").args
    threading.Thread(target=interrupt_once_it_trains, args=(place.folder("run"),)).start()
    with patch.dict(os.environ, environment(), clear=True), pytest.raises(KeyboardInterrupt):
        train(args)
    run = load_run(place.runs / "run")
    assert run.status is not None
    assert (run.status.state, run.status.step) == ("preempted", run.folder.whole_checkpoints()[-1][0])


def interrupt_once_it_trains(folder: RunFolder) -> None:
    """Press Ctrl-C in this process, or after a while in any case."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while recorded_steps(folder) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is no run; give its folder"):
        load_run(tmp_path)


def test_a_missing_pandas_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"^a table of metrics needs the package pandas: pip install pandas$"):
        as_frame(tmp_path / "metrics.jsonl")


@pytest.mark.slow  # it needs setuptools in the environment, as that of the tests has
def test_the_clone_can_be_installed_for_other_folders(tmp_path: Path) -> None:
    target = tmp_path / "packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    subprocess.run([*command, "--target", str(target)], check=True, timeout=300, capture_output=True)
    found = subprocess.run(
        [sys.executable, "-c", f"import site; site.addsitedir({str(target)!r}); import dlib; print(dlib.__file__)"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout == f"{ROOT / 'dlib' / '__init__.py'}\n", found.stderr
