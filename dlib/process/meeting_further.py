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
from dlib.process.ranks import global_rank, world_size
from dlib.process.standing import Standing

KEPT: list[Connection] = []
"""Connections that stay open until the process ends."""


class Further:
    """The end of any other process."""

    def __init__(self, host: str, port: int) -> None:
        """Take where the first listens."""
        self._host, self._port = host, port
        self._connection: Connection | None = None
        self._answer: dict[str, Any] = {}  # whether and where the run begins
        self._lost: str | None = None  # why it never will, or goes on no longer
        self._standing, self._next_beat, self._has_left = Standing(), 0.0, False

    @property
    def is_complete(self) -> bool:
        """Whether it is in touch with the first."""
        return self._connection is not None

    def greet(self) -> str | None:
        """Reach the first once it listens, and hear whether it fails."""
        with suppress(OSError):  # it does not listen yet, or is not known here
            connection = self._connection or self._connect()
            self._listen()
            if self._has_left:  # it was the first of another program of the same step
                connection.close()
                self._connection, self._has_left = None, False
        return None if self._answer else self._lost

    def meet(self, asked: Callable[[], bool], lost: Callable[[], str | None], open_store: Callable[[], int]) -> None:
        """Reach the first, and wait for its word."""
        connection = self._connection or self._reach(asked, lost)
        has_said, deadline = asked(), time.monotonic() + meeting.MEETING_SECONDS + meeting.REMINDER_SECONDS
        self._say({"rank": global_rank(), "size": world_size(), "asked": has_said})
        while not self._listen():
            if cause := self._lost or lost():
                if asked():
                    meeting.refuse_to_begin()
                raise TrainingError(cause)
            if asked() and not has_said:
                has_said = True
                self._say({"asked": True})
            if time.monotonic() >= deadline:
                raise TrainingError(f"rank 0 of the run, on {self._host}, does not answer")
            time.sleep(meeting.LOOK_SECONDS)
        if not self._answer["go"]:
            meeting.refuse_to_begin()
        # Beside the first it knows only the loopback: others reach it as they reach the first.
        is_beside = is_loopback(connection.other_address)
        interface = self._answer["interface"] if is_beside else meeting.interface_of_any([connection])
        meeting.meet_torch_at(connection.other_address, int(self._answer["port"]), interface)

    def _connect(self) -> Connection:
        """Reach the first, which then knows of this process; raises OSError where it does not listen."""
        self._connection = Connection(socket.create_connection((self._host, self._port), meeting.CONNECTING_SECONDS))
        self._say({"rank": global_rank(), "host": platform.node(), "run": meeting.name_run()})
        return self._connection

    def _say(self, message: dict[str, Any]) -> None:
        """Tell the first; if it has ended, `_listen` finds out."""
        assert self._connection is not None
        with suppress(OSError):
            self._connection.send(message)

    def _reach(self, asked: Callable[[], bool], lost: Callable[[], str | None]) -> Connection:
        """Connect to the first as soon as it listens."""
        began = reminded = time.monotonic()
        ends: float | None = None  # when it no longer tries, once it was asked to stop
        while True:
            try:
                return self._connect()
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

    def _listen(self) -> dict[str, Any]:
        """Take what the first has said, or that it has ended; returns whether and where the run begins, once told."""
        assert self._connection is not None
        try:
            for said in self._connection.receive():
                self._answer = said if "go" in said else self._answer
                self._has_left = self._has_left or bool(said.get("left"))
                if said.get("left") is False:
                    self._lost = f"rank 0 of the run, on {self._host}, has failed, and says why"
        except (OSError, ValueError):
            self._lost = self._lost or f"rank 0 of the run, on {self._host}, has ended or is out of reach"
        return self._answer

    def look(self) -> str | None:
        """Say where this process stands, and hear whether the first is still there."""
        if self._has_left or self._connection is None:
            return None
        self._listen()
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + meeting.BEAT_SECONDS
            self._say({"still": self._standing.look(), "place": self._standing.place})
        return None if self._has_left else self._lost

    def leave(self, *, in_order: bool, cause: str = "") -> None:
        """Tell the first; in order the connection stays open until this process ends, which the first awaits."""
        if self._connection is not None:
            self._say({"left": in_order, "cause": cause})
            if in_order:
                KEPT.append(self._connection)
            else:
                self._connection.close()
