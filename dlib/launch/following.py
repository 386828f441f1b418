"""What a job does, as it does it: its state when it changes, and its log as it grows."""

import sys
import time
from pathlib import Path

from dlib.launch.launchers import COMPLETED, FAILED, GONE, PENDING, JobState, Launcher, shown_number
from dlib.process.errors import TrainingError, UserError
from dlib.process.ranks import logger, say

SECONDS_BETWEEN_LOOKS = 0.5
LOOKS_BETWEEN_QUESTIONS = 6
"""A scheduler is asked less often than the log is read: it has others to serve."""


class Log:
    """A log that grows, read from a place on."""

    def __init__(self, path: Path, place: int) -> None:
        """Read from the byte `place` on."""
        self._path, self._place = path, place

    def show(self) -> None:
        """Print on stdout what is new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                new = file.read()
        except FileNotFoundError:  # it has not begun, or has waited for too long: its folder was moved away
            return
        self._place += len(new)
        sys.stdout.write(new.decode("utf-8", errors="replace"))
        sys.stdout.flush()


def follow(launcher: Launcher, number: str, name: str, log: Path, place: int, index: str | None = None) -> None:
    """Show a job until it ends; Ctrl-C leaves it as it is.

    Args:
        launcher: who has it.
        number: by which to ask for it.
        name: what the user calls it.
        log: the file that it prints to.
        place: what to show of it: from this byte on.
        index: of a task of the array `name`.

    Raises:
        TrainingError: it failed.
    """
    try:
        state = _watch(launcher, number, Log(log, place))
    except KeyboardInterrupt:
        which, what = ("", "it") if index is None else (f" --index {index}", "the whole array")
        say(
            f"\njob {shown_number(number)} goes on without you: jobs.py logs -f {name}{which} shows it, "
            f"jobs.py cancel {name} ends {what}"
        )
        return
    if state.word not in (COMPLETED, GONE):
        why = f" ({state.reason})" if state.reason not in ("", "None") else ""
        how = "has failed" if state.word == FAILED else f"has ended: {state.word}"
        raise TrainingError(f"job {shown_number(number)} of '{name}' {how}{why}; its log: {log}")
    say(f"job {shown_number(number)} has ended" + (", and the cluster forgot how" if state.word == GONE else ""))


def _watch(launcher: Launcher, number: str, log: Log) -> JobState:
    """Show the log, and each new state, up to the last one."""
    told = ""
    while True:
        state = _asked(launcher, number)
        if state is not None and (line := describe(number, state)) != told:
            told = line
            say(line)
        for _ in range(1 if state and state.is_over else LOOKS_BETWEEN_QUESTIONS):
            log.show()
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if state is not None and state.is_over:
            log.show()
            return state


def _asked(launcher: Launcher, number: str) -> JobState | None:
    """The state of a job; None where nobody answers, which the job outlives."""
    try:
        return launcher.states([number])[number]
    except UserError as error:
        logger().warning("%s", error)
        return None


def describe(number: str, state: JobState) -> str:
    """Where a job stands, in a line."""
    words = [f"job {shown_number(number)} is {state.word}"]
    if state.word == PENDING:
        words.append(f": {state.reason}" if state.reason not in ("", "None") else "")
        words.append(f", may start at {state.start}" if state.start not in ("", "N/A") else "")
    elif state.nodes:
        words.append(f" on {state.nodes}")
    return "".join(words)
