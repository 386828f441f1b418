"""The first process at a meeting: it hears all others, says who is missing, and notices who is lost."""

import os
import platform
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from dlib.process import meeting
from dlib.process.connections import Connection
from dlib.process.errors import TrainingError, UserError
from dlib.process.ranks import from_environment, logger, say, world_size
from dlib.process.standing import Standing, name_ranks, side_by_side

LOOPBACK = "127.0.0.1"
"""Where the processes of one machine meet (`dlib/process/launching.py`)."""


@dataclass
class Guest:
    """Another process, as far as the first has heard of it."""

    connection: Connection
    rank: int = -1  # -1 until it has said so
    host: str = ""
    asked: bool = False  # to stop
    still: float = 0.0  # seconds since it was last seen to move
    place: str = ""  # where it stands
    has_left: bool = False  # as it should
    heard: float = 0.0  # when it last said something

    def hear(self) -> None:
        """Take what it has said; raises as `Connection.receive`, and for one of another run, or one that fails."""
        for said in self.connection.receive():
            self.heard = time.monotonic()
            if self.rank < 0 and said["run"] != meeting.name_run():
                raise ValueError(f"a process of another run: {said['run']}")
            rank = int(said.get("rank", self.rank))
            if not 0 < rank < world_size():
                raise ValueError(f"no further process of the run: {rank}")
            self.rank, self.host = rank, str(said.get("host", self.host))
            self.asked, self.has_left = self.asked or bool(said.get("asked")), bool(said.get("left"))
            self.still, self.place = float(said.get("still", 0)), str(said.get("place", self.place))
            if said.get("left") is False:
                raise ConnectionError("it has failed")

    @property
    def state(self) -> str:
        """What it does, in words: where it stands, if it stands still."""
        if self.has_left:
            return "done"
        if time.monotonic() - self.heard > meeting.SILENT_SECONDS:
            return f"silent, on {self.host}"
        return "moving" if self.still < meeting.SILENT_SECONDS else self.place


class First:
    """The end of the first process."""

    def __init__(self, port: int) -> None:
        """Listen.

        Raises:
            UserError: another program does already.
        """
        self._guests: dict[int, Guest] = {}
        self._standing, self._is_told, self._next_look = Standing(), False, 0.0
        self._selector = selectors.DefaultSelector()
        try:
            self._door = listen(port)
        except OSError as error:
            raise UserError(f"MASTER_PORT={port}: this node cannot listen there: {meeting.reason_of(error)}") from error
        self._selector.register(self._door, selectors.EVENT_READ)

    def meet(self, asked: Callable[[], bool], lost: Callable[[], str | None], open_store: Callable[[], int]) -> None:
        """Wait for the others."""
        began = reminded = time.monotonic()
        ends: float | None = None  # when it no longer waits, once somebody was asked to stop
        while missing := [rank for rank in range(1, world_size()) if rank not in self._guests]:
            if ends is None and (asked() or any(guest.asked for guest in self._guests.values())):
                ends = time.monotonic() + meeting.FAREWELL_SECONDS
            if ends is not None and time.monotonic() >= ends:
                break
            if cause := lost() or self._hear(meeting.LOOK_SECONDS):
                raise TrainingError(cause)
            if time.monotonic() - reminded >= meeting.REMINDER_SECONDS:
                reminded = time.monotonic()
                say(f"waiting for {name_ranks(missing)} of {world_size()}; here are {self._name_hosts()}")
            if time.monotonic() - began >= meeting.MEETING_SECONDS:
                raise UserError(
                    f"{name_ranks(missing)} of {world_size()} did not come within {meeting.MEETING_SECONDS:.0f} s; "
                    f"here are {self._name_hosts()}: see what they say; if they wait for this one, {meeting.ADVICE}"
                )
        self._selector.unregister(self._door)
        self._door.close()
        go = not missing and not asked() and not any(guest.asked for guest in self._guests.values())
        self._begin(open_store, go=go)

    def _begin(self, open_store: Callable[[], int], *, go: bool) -> None:
        """Tell all whether and where torch begins."""
        # Not a free port that torch takes later: until then another program may have taken it.
        port, connections = open_store() if go else 0, [guest.connection for guest in self._guests.values()]
        interface = meeting.interface_of_any(connections)
        for connection in connections:
            with suppress(OSError):
                connection.send({"go": go, "port": port, "interface": interface})
        if not go:
            meeting.refuse_to_begin()
        meeting.meet_torch_at(LOOPBACK, port, interface)

    def _hear(self, seconds: float) -> str | None:
        """Wait so long for what others say; returns who has ended without a word."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._door:
                with suppress(OSError):  # it has gone again, or this process has too many files open
                    guest = Guest(Connection(self._door.accept()[0]))
                    self._selector.register(guest.connection, selectors.EVENT_READ, guest)
                continue
            guest = key.data
            try:
                guest.hear()
            except (OSError, ValueError, OverflowError, TypeError, KeyError):
                self._selector.unregister(guest.connection)
                guest.connection.close()
                if guest.rank > 0 and not guest.has_left:
                    return f"rank {guest.rank} of the run, on {guest.host}, has ended or is out of reach"
            if guest.rank > 0:
                self._guests[guest.rank] = guest
        return None

    def look(self) -> str | None:
        """Hear the others, and tell once where all stand if nothing moves."""
        cause = self._hear(0)
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + meeting.BEAT_SECONDS
            still = self._standing.look()
            if still >= meeting.STILL_SECONDS and not self._is_told:
                states = {0: self._standing.place, **{rank: guest.state for rank, guest in self._guests.items()}}
                logger().warning("rank 0 has not moved for %.0f s; %s", still, side_by_side(states))
            self._is_told = still >= meeting.STILL_SECONDS
        return cause

    def leave(self, *, in_order: bool) -> None:
        """Close all connections; in order only once the other processes have ended."""
        self._door.close()
        for guest in self._guests.values():
            with suppress(OSError):
                guest.connection.send({"left": in_order})
        deadline = time.monotonic() + meeting.LEAVING_SECONDS * in_order
        while time.monotonic() < deadline and any(guest.connection.fileno() >= 0 for guest in self._guests.values()):
            self._hear(meeting.LOOK_SECONDS)
        self._selector.close()
        for guest in self._guests.values():
            guest.connection.close()

    def _name_hosts(self) -> str:
        """Who is there, in words."""
        hosts = sorted({platform.node(), *(guest.host for guest in self._guests.values())})
        return f"{len(self._guests) + 1}, on {', '.join(hosts[:8])}{' ...' * (len(hosts) > 8)}"


def listen(port: int) -> socket.socket:
    """A socket that others reach by any address of this machine; by the loopback alone where all others are on it."""
    if os.environ.get("MASTER_ADDR") == LOOPBACK and from_environment("LOCAL_WORLD_SIZE", 0) == world_size():
        return socket.create_server((LOOPBACK, port), backlog=world_size())
    if not socket.has_dualstack_ipv6():
        return socket.create_server(("", port), backlog=world_size())
    return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=world_size())
