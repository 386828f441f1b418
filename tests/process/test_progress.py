"""How far a work is: silence at first, a rewritten line on a terminal, a line now and then elsewhere."""

import os
import pty
from contextlib import suppress

import pytest

from dlib.process import progress
from dlib.process.progress import CLEAR, Progress


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        """The seconds that it shows."""
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the progress."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def work(clock: Clock, total: int, seconds_a_unit: float) -> None:
    """Do a work of so many units."""
    shown = Progress("Working", total)
    for _ in range(total):
        clock.seconds += seconds_a_unit
        shown.advance(1)
    shown.close()


def test_a_log_has_a_line_each_tenth_or_half_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    work(clock, 20, seconds_a_unit=0.1)
    assert capsys.readouterr().err == ""
    work(clock, 100, seconds_a_unit=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Working: 10%, 0:01:30 left"
    assert len(lines) == 10
    work(clock, 1000, seconds_a_unit=10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["Working: 0%, 2:46:10 left", "Working: 1%, 2:45:40 left"]


def test_what_was_there_before_takes_no_time(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress("Working", 100)
    shown.advance(50, is_new=False)
    clock.seconds += 10
    shown.advance(10)
    assert capsys.readouterr().err == "Working: 60%, 0:00:40 left\n"


def test_a_terminal_has_one_line_that_is_cleared_at_the_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        work(clock, 5, seconds_a_unit=1)
    seen = ""
    with suppress(OSError):  # once all is read: nobody holds the other end
        while True:
            seen += os.read(ours, 1000).decode()
    os.close(ours)
    lines = (f"Working: {share}%, 0:00:0{left} left" for share, left in ((60, 2), (80, 1), (100, 0)))
    assert seen == "".join(CLEAR + line for line in lines) + CLEAR
