"""Processes that a launcher has started are in touch from their start: who fails before they meet is not waited for.

Preparing a run takes seconds to hours, and may fail in one process alone: its device, its disk, a run that is in use.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from dlib.process import meeting
from dlib.process.connections import is_name
from dlib.process.errors import TrainingError, UserError, one_line
from dlib.process.failures import describe_failure
from dlib.process.meeting import Meeting
from dlib.process.meeting_first import First
from dlib.process.meeting_further import Further
from dlib.process.ranks import from_environment, global_rank, in_slurm_step, world_size
from dlib.process.slurm_step import first_node_of_step, port_of_step

PLACE = ("MASTER_ADDR", "MASTER_PORT")
"""What says where the processes meet."""


class Contact:
    """A meeting that has not begun, and a thread that hears whether another process fails before it does."""

    held: "Contact | None" = None
    """That of this process."""

    def __init__(self, opened: Meeting) -> None:
        """Begin to listen."""
        self.on_loss: Callable[[str], None] = lambda cause: None
        self.asked: Callable[[], bool] = lambda: False
        self._meeting = opened
        self._is_taken = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def take(self) -> Meeting:
        """Stop listening, and hand the meeting over."""
        Contact.held = None
        self._is_taken.set()
        self._thread.join()
        return self._meeting

    def _watch(self) -> None:
        while not self._is_taken.wait(meeting.LOOK_SECONDS):
            if cause := self._meeting.greet():
                # Mostly all make the same mistake, and say so; or all were asked to stop, which the meeting settles.
                if not self._is_taken.wait(meeting.GRACE_SECONDS) and not self.asked():
                    end_at_once(cause, self.on_loss)
                return

    def end(self, error: BaseException | None) -> None:
        """Tell the others how this process ends; also those that are just starting, if it fails."""
        opened, deadline = self.take(), time.monotonic() + meeting.FAREWELL_SECONDS * isinstance(error, Exception)
        while not opened.is_complete and time.monotonic() < deadline:
            opened.greet()
            time.sleep(meeting.LOOK_SECONDS)
        opened.leave(in_order=meeting.ends_well(error), cause=describe_failure(error).cause if error else "")


@contextmanager
def in_touch() -> Iterator[None]:
    """Be in touch with the other processes that a launcher has started, from here until they meet.

    If one of them fails within the block, the others end within seconds and say why, unless they end by themselves.

    Raises:
        UserError: another program listens where they meet.
    """
    settle_place()
    is_told = world_size() > 1 and all(name in os.environ for name in PLACE)
    opened = open_meeting() if is_told else None
    if opened is not None:
        Contact.held = Contact(opened)
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        if Contact.held is not None:
            Contact.held.end(error)


def tell_loss(on_loss: Callable[[str], None], asked: Callable[[], bool]) -> None:
    """Until all meet, tell why before this process ends for another that failed, unless it was `asked` to stop."""
    if Contact.held is not None:
        Contact.held.on_loss, Contact.held.asked = on_loss, asked


def settle_place() -> None:
    """Say where the tasks of a step of SLURM meet, unless the user has."""
    if in_slurm_step():
        os.environ.setdefault("MASTER_ADDR", first_node_of_step())
        os.environ.setdefault("MASTER_PORT", str(port_of_step()))


def open_meeting() -> Meeting | None:
    """This process's end; None under torchrun, whose agents look after the processes, at the same port.

    Raises:
        UserError: nobody has said where they meet, or it is no name or no port; or another program listens there.
    """
    if Contact.held is not None:
        return Contact.held.take()
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return None
    if missing := [name for name in PLACE if name not in os.environ]:
        raise UserError(
            f"WORLD_SIZE={world_size()} in the environment, without {' and '.join(missing)}: set or unset all"
        )
    port = from_environment("MASTER_PORT", 0)
    if not 0 < port < 1 << 16:
        raise UserError(f"MASTER_PORT={port}: a port is a number from 1 to 65535")
    address = os.environ["MASTER_ADDR"]
    if not is_name(address):
        raise UserError(f"MASTER_ADDR={address}: no machine can have such a name; {meeting.ADVICE}")
    return First(port) if global_rank() == 0 else Further(address, port)


def end_at_once(cause: str, on_loss: Callable[[str], None]) -> NoReturn:
    """End this process, although it may wait where no exception reaches it."""
    print(f"error: {one_line(cause)}", file=sys.stderr, flush=True)
    on_loss(cause)
    os._exit(TrainingError.status)
