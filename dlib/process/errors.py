"""How a script ends when its user made a mistake: with one clear line, and no traceback."""

import errno
import io
import os
import re
import reprlib
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

TRAINING_ERROR_STATUS = 1
USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130
BROKEN_PIPE_STATUS = 141
PATH_ERRORS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS)
"""What a path can do to any system call: it is too long, leads in a circle, or may not be read or written."""
LONG_WORD = re.compile(r"(\S{150})\S{100,}(\S{50})")
LONG_MESSAGE = re.compile(r"(.{1500}).{400,}(.{100})")


class UserError(Exception):
    """A mistake of the user, told in one line that names the flag, file or key and says what to do."""

    status = USER_ERROR_STATUS


class TrainingError(UserError):
    """What ended a training or an evaluation that had begun well; its run stays, with the state `failed`."""

    status = TRAINING_ERROR_STATUS


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Runs a script's `main` and ends the process with the exit status that it returns; None stands for 0.

    A `UserError` becomes one `error: ...` line on stderr and status 2, a `TrainingError` status 1. An interrupt ends
    quietly with status 130, and a closed stdout (`train.py --help | head`) with 141, as in a shell. Any other exception
    is a fault of ours and keeps its traceback. stderr may be closed at any time.
    """
    open_missing_streams()
    outlast_reader("stderr")
    try:
        status = status_of(main)
        sys.stdout.flush()
    except BrokenPipeError:
        if not stdout_is_broken():
            raise
        # What is still buffered goes nowhere, so that the interpreter's last flush cannot fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = BROKEN_PIPE_STATUS
    sys.exit(status)


def status_of(main: Callable[[], int | None]) -> int | str | None:
    """The exit status of `main`, after a line on stderr where its user made a mistake."""
    try:
        return main()
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.status
    except OSError as error:
        if error.errno not in PATH_ERRORS or error.filename is None:
            raise
        print(f"error: {one_line(f'{error.filename}: {error.strerror}')}", file=sys.stderr)
        return USER_ERROR_STATUS
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    except SystemExit as error:
        return error.code


def open_missing_streams() -> None:
    """Opens the null device where the caller closed stdin, stdout or stderr (`<&-`), which Python leaves None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for good


class LossyFile(io.FileIO):
    """A file that never fails: what cannot be written is lost."""

    def write(self, data: Any) -> int:
        """Writes bytes, and reports them all as written."""
        with suppress(OSError):
            return super().write(data) or len(data)  # None: it would have to wait
        return len(data)


def outlast_reader(name: str) -> None:
    """Makes `stdout` or `stderr` a stream that nothing can break: a closed terminal, or `2>&1 | head -1`."""
    stream = getattr(sys, name)
    with suppress(OSError):  # it is no file, but an object in memory
        raw = LossyFile(stream.fileno(), "w", closefd=False)
        lossy = io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True)
        setattr(sys, name, lossy)


def one_line(message: str) -> str:
    """The message in one line that a terminal shows as it is, with the middle of very long words cut out."""
    line = LONG_WORD.sub(r"\1[...]\2", " ".join(message.split()))
    return printable(LONG_MESSAGE.sub(r"\1[...]\2", line))


def printable(text: str) -> str:
    """The text with control characters written out (`\\x1b`), but for line ends: a name must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


def quoted(value: Any) -> str:
    """A value for an error message, as Python writes it, in a few words however large it is."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def stdout_is_broken() -> bool:
    """Whether stdout is the pipe that broke: its reader is gone."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


@contextmanager
def ended_by_signals() -> Iterator[Callable[[], None]]:
    """Has SIGINT, SIGTERM and SIGHUP, but for those that are ignored (`nohup`), end this process with its clean-up.

    The exception comes in the middle of whatever is computed. A library may swallow it, or make another of it, as
    OmegaConf does while it builds a configuration: so the end of the block raises it again.

    Yields:
        A function that raises it again, too, for loops that go on until they are interrupted.

    Raises:
        KeyboardInterrupt: SIGINT came.
        SystemExit: another came, with its exit status.
    """
    came: list[int] = []

    def end(number: int, frame: FrameType | None) -> NoReturn:
        came.append(number)
        raise interruption(number)

    def end_if_asked() -> None:
        if came:
            raise interruption(came[0])

    asked_by = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [number for number in asked_by if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield end_if_asked
    except Exception:
        end_if_asked()
        raise
    else:
        end_if_asked()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interruption(number: int) -> BaseException:
    """What ends a process that a signal has asked to."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
