"""A run whose terminal closes, or whose pipe ends: it computes, keeps and says the same as any other."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from tests.exactness.ranks import start_ranks
from tests.launching import TIMEOUT_SECONDS, Place, Training, recorded_steps, start_warm, train

LONG = ("--training_goal", "100000", "--save_interval", "100000", "--eval_interval", "100000")
SHORT = ("--training_goal", "40")


@contextmanager
def read_by(pipe: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that reads what is written to a new named pipe."""
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # it does not wait for somebody who writes
    writing = os.open(pipe, os.O_WRONLY)  # before that, the program would find the pipe's end
    os.set_blocking(reading, True)
    process = subprocess.Popen(command, stdin=reading, stdout=subprocess.DEVNULL)
    os.close(reading)
    try:
        yield process
    finally:
        os.close(writing)
        process.kill()
        process.wait()


def assert_saved(folder: RunFolder) -> None:
    """Every step that was recorded is in the last checkpoint, and the state says so."""
    status = folder.read_status()
    assert status is not None
    assert status.state == "preempted"
    assert folder.pointed_step("last") == status.step == recorded_steps(folder) >= 3
    log = folder.log.read_text(encoding="utf-8")
    assert f"is saved at step {status.step} of" in log
    assert "Traceback" not in log


@contextmanager
def on_terminal(arguments: list[str], scratch: Path) -> Iterator[tuple[Training, "subprocess.Popen[bytes]"]]:
    """A training on a terminal of its own, and the process that shows the terminal."""
    master, slave = pty.openpty()
    window = subprocess.Popen(
        [sys.executable, "-S", "-c", "import os, sys\nwhile os.read(int(sys.argv[1]), 4096): pass", str(master)],
        pass_fds=[master],
        stderr=subprocess.DEVNULL,
    )
    os.close(master)
    try:
        with start_warm(arguments, scratch, output=Path(os.ttyname(slave))) as training:
            yield training, window
    finally:
        os.close(slave)
        window.kill()
        window.wait()


def test_a_closed_terminal_saves_the_run(place: Place, tmp_path: Path) -> None:
    folder = place.folder("run")
    with on_terminal(place.arguments("run", *LONG), tmp_path) as (training, window):
        training.wait_for(lambda: recorded_steps(folder) >= 3)
        window.kill()  # the kernel sends SIGHUP
        assert training.ends_within(TIMEOUT_SECONDS)
        assert training.status == 75
    assert_saved(folder)


@pytest.mark.parametrize("world_size", [1, 2])
def test_ctrl_c_that_also_ends_the_reader_of_a_pipe_saves_the_run(
    place: Place, tmp_path: Path, world_size: int
) -> None:
    folder, pipe = place.folder("run"), tmp_path / "pipe"
    with (
        read_by(pipe, "tee", str(tmp_path / "log")) as tee,
        start_ranks(place.arguments("run", *LONG), world_size, tmp_path, output=pipe) as ranks,
    ):
        ranks.first.wait_for(lambda: recorded_steps(folder) >= 3)
        tee.send_signal(signal.SIGINT)
        tee.wait()
        for training in ranks.trainings:
            training.signal_group(signal.SIGINT)
        assert all(training.ends_within(TIMEOUT_SECONDS) for training in ranks.trainings)
        assert [training.status for training in ranks.trainings] == [75, 0][:world_size]
    assert_saved(folder)


def test_a_run_whose_pipe_ends_goes_on_to_its_goal(place: Place, tmp_path: Path) -> None:
    folder, pipe = place.folder("run"), tmp_path / "pipe"
    with (
        read_by(pipe, "head", "-1") as head,
        start_warm(place.arguments("run", *SHORT), tmp_path, output=pipe) as training,
    ):
        assert training.ends_within(TIMEOUT_SECONDS)
        assert training.status == 0
        assert head.wait(TIMEOUT_SECONDS) == 0
    assert recorded_steps(folder) == folder.pointed_step("last") == 40
    assert "is finished" in folder.log.read_text(encoding="utf-8")


def test_a_watch_whose_pipe_ends_evaluates_what_is_left(place: Place, tmp_path: Path) -> None:
    folder, pipe = place.folder("run"), tmp_path / "pipe"
    saves = ("--training_goal", "3", "--save_interval", "1", "--eval_interval", "3", "--max_checkpoints", "-1")
    assert train(place.arguments("run", *saves), tmp_path).status == 0
    arguments = [str(folder.root), "--watch", "--json", "--accelerator", "cpu", "--cache_dir", str(place.cache)]
    with (
        read_by(pipe, "head", "-1"),
        start_warm(arguments, tmp_path, program="eval.py", output=pipe) as watcher,
    ):
        assert watcher.ends_within(TIMEOUT_SECONDS)
        assert watcher.status == 0
    assert [path.stem for path in sorted(folder.evals.glob("*.json"))] == [
        path.name for _, path in folder.whole_checkpoints()
    ]
