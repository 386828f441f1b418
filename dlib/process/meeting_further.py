"""Any process but the first at a meeting: it reaches the first, waits for its word, and says where it stands."""

import platform
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dlib.process import meeting
from dlib.process.connections import Connection, is_loopback
from dlib.process.errors import TrainingError, UserError
from dlib.process.ranks import global_rank
from dlib.process.standing import Standing

KEPT: list[Connection] = []
"""Connections that stay open until the process ends."""


class Further:
    """The end of any other process."""

    def __init__(self, host: str, port: int) -> None:
        """Take where the first listens."""
        self._host, self._port = host, port
        self._connection: Connection | None = None
        self._standing, self._next_beat, self._has_left = Standing(), 0.0, False

    def meet(self, asked: Callable[[], bool], lost: Callable[[], str | None], open_store: Callable[[], int]) -> None:
        """Reach the first, and wait for its word."""
        self._connection = connection = self._reach(asked, lost)
        hello = {"rank": global_rank(), "host": platform.node(), "run": meeting.name_run()}
        connection.send({**hello, "asked": asked()})
        has_said, deadline = asked(), time.monotonic() + meeting.MEETING_SECONDS + meeting.REMINDER_SECONDS
        while not (answer := self._hear()):
            if cause := lost():
                raise TrainingError(cause)
            if asked() and not has_said:
                has_said = True
                connection.send({"asked": True})
            if time.monotonic() >= deadline:
                raise TrainingError(f"rank 0 of the run, on {self._host}, does not answer")
            time.sleep(meeting.LOOK_SECONDS)
        if "go" not in answer:
            raise TrainingError(self._told_failure())
        if not answer["go"]:
            meeting.refuse_to_begin()
        # Beside the first it knows only the loopback: others reach it as they reach the first.
        is_beside = is_loopback(connection.other_address)
        interface = answer["interface"] if is_beside else meeting.interface_of_any([connection])
        meeting.meet_torch_at(connection.other_address, int(answer["port"]), interface)

    def _reach(self, asked: Callable[[], bool], lost: Callable[[], str | None]) -> Connection:
        """Connect to the first as soon as it listens."""
        began = reminded = time.monotonic()
        ends: float | None = None  # when it no longer tries, once it was asked to stop
        while True:
            try:
                return Connection(socket.create_connection((self._host, self._port), meeting.CONNECTING_SECONDS))
            except OSError as error:
                reason, is_nameless = meeting.reason_of(error), isinstance(error, socket.gaierror)
            waited = time.monotonic() - began
            place = f"rank 0 of the run is not reached at {self._host}:{self._port}: {reason}"
            if cause := lost():
                raise TrainingError(cause)
            if ends is None and asked():
                ends = time.monotonic() + meeting.FAREWELL_SECONDS
            if ends is not None and time.monotonic() >= ends:
                meeting.refuse_to_begin()
            if waited >= (meeting.NAMELESS_SECONDS if is_nameless else meeting.MEETING_SECONDS):
                raise UserError(f"{place}; {meeting.ADVICE}")
            if time.monotonic() - reminded >= meeting.REMINDER_SECONDS:
                reminded = time.monotonic()
                print(f"rank {global_rank()} waits: {place}; {meeting.ADVICE}", file=sys.stderr)
            time.sleep(meeting.LOOK_SECONDS)

    def _hear(self) -> dict[str, Any] | None:
        """What the first has said, if it has said something.

        Raises:
            TrainingError: it has ended.
        """
        assert self._connection is not None
        try:
            return next(iter(self._connection.receive()), None)
        except (OSError, ValueError) as error:
            raise TrainingError(f"rank 0 of the run, on {self._host}, has ended or is out of reach") from error

    def _told_failure(self) -> str:
        return f"rank 0 of the run, on {self._host}, has failed, and says why"

    def look(self) -> str | None:
        """Say where this process stands, and hear whether the first is still there."""
        if self._has_left or self._connection is None:
            return None
        try:
            if (said := self._hear()) and "left" in said:
                self._has_left = bool(said["left"])
                return None if self._has_left else self._told_failure()
            if time.monotonic() >= self._next_beat:
                self._next_beat = time.monotonic() + meeting.BEAT_SECONDS
                self._connection.send({"still": self._standing.look(), "place": self._standing.place})
        except OSError as error:
            return f"rank 0 of the run, on {self._host}, is out of reach: {meeting.reason_of(error)}"
        except TrainingError as error:
            return str(error)
        return None

    def leave(self, *, in_order: bool) -> None:
        """Tell the first; in order the connection stays open until this process ends, which the first awaits."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.send({"left": in_order})
            if in_order:
                KEPT.append(self._connection)
            else:
                self._connection.close()
