"""Checkpoints that are written while the training goes on: one at a time, and none is left behind."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlib.args import CheckpointArgs, ExperimentArgs
from dlib.callbacks.checkpointing import Checkpointing
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.tracking.run_log import RunLog
from dlib.training.training_module import TrainingModule
from tests.exactness.steps import Watching, make_plan, train
from tests.toys import train_wordpiece

PATIENCE_SECONDS = 30.0


class SlowFolder(RunFolder):
    """A run's folder that takes a checkpoint no sooner than it is allowed to."""

    def __init__(self, root: Path) -> None:
        """Allow nothing yet."""
        super().__init__(root)
        root.mkdir()
        self.allowed = threading.Event()
        self.writing: list[int] = []  # steps of the checkpoints that are being written
        self.most_at_once = 0
        self.refusal: UserError | None = None

    def publish_checkpoint(self, step: int, write: Callable[[Path], None], needed_bytes: int | None = None) -> Path:
        """Wait, then write or refuse."""
        self.writing.append(step)
        self.most_at_once = max(self.most_at_once, len(self.writing))
        assert self.allowed.wait(PATIENCE_SECONDS)
        if self.refusal is not None:
            raise self.refusal
        path = super().publish_checkpoint(step, write, needed_bytes)
        self.writing.remove(step)
        return path

    @property
    def steps(self) -> list[int]:
        """Steps of its whole checkpoints."""
        return [step for step, _ in self.whole_checkpoints()]


def train_three_steps(folder: SlowFolder, action: Callable[[TrainingModule], object]) -> None:
    """Each step is saved in the background; `action` comes after it was handed over."""
    args = ExperimentArgs(checkpoint=CheckpointArgs(max_checkpoints=-1, save_in_background=True))
    args = replace(args, tracking=replace(args.tracking, trackers=["none"]))
    saving = Checkpointing(folder, train_wordpiece(), RunLog(folder, newest={"dev/loss": 1.0}), args)
    train(make_plan(8), Watching(action), further=[saving])


@pytest.fixture
def folder(tmp_path: Path) -> SlowFolder:
    """A run's folder that waits."""
    return SlowFolder(tmp_path / "run")


def test_training_goes_on_and_the_end_waits(folder: SlowFolder) -> None:
    seen: list[Any] = []

    def look(module: TrainingModule) -> None:
        if module.steps_done == 1:
            seen.append((folder.steps, folder.read_status()))
        folder.allowed.set()

    train_three_steps(folder, look)
    assert seen == [([], None)]
    assert folder.steps == [1, 2, 3]
    assert folder.most_at_once == 1
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.step, folder.pointed_step("last")) == ("running", 3, 3)


def test_a_refusal_of_the_disk_ends_the_run_and_nothing_is_told_of_that_checkpoint(folder: SlowFolder) -> None:
    folder.refusal = UserError("no room")
    folder.allowed.set()
    steps: list[int] = []
    with pytest.raises(UserError, match="no room"):
        train_three_steps(folder, lambda module: steps.append(module.steps_done))
    assert steps == [1]
    assert folder.read_status() is None


def test_an_exception_waits_for_the_checkpoint_that_is_being_written(folder: SlowFolder) -> None:
    def fail(module: TrainingModule) -> None:
        threading.Timer(0.1, folder.allowed.set).start()
        raise RuntimeError("of the second step")

    with pytest.raises(RuntimeError, match="of the second step"):
        train_three_steps(folder, fail)
    assert folder.steps == [1]


def test_a_signal_right_after_it_was_handed_over_waits_as_well(
    folder: SlowFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ThreadPoolExecutor.submit

    def be_interrupted(*args: Any) -> None:
        submit(*args)
        threading.Timer(0.1, folder.allowed.set).start()
        raise SystemExit(130)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", be_interrupted)
    with pytest.raises(SystemExit):
        train_three_steps(folder, lambda module: None)
    assert folder.steps == [1]
