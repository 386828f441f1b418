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
from dlib.process.placement import launched_nodes, starts_rest_of_node
from dlib.process.ranks import logger, say, world_size
from dlib.process.standing import Standing, name_ranks, side_by_side

LOOPBACK = "127.0.0.1"
"""Where the processes of one machine meet (`dlib/process/launching.py`)."""


@dataclass
class Guest:
    """Another process, as far as the first has heard of it."""

    connection: Connection
    rank: int = -1  # -1 until it has said so; that of a task, as long as it has not started others
    host: str = ""
    size: int = 0  # how many processes the run has, by its count; 0 until it is at the meeting
    cause: str = ""  # why it fails
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
            if rank <= 0 or (rank >= world_size() and not starts_rest_of_node()):
                raise ValueError(f"no further process of the run: {rank}")
            self.rank, self.host = rank, str(said.get("host", self.host))
            self.size = int(said.get("size", self.size))
            self.asked, self.has_left = self.asked or bool(said.get("asked")), bool(said.get("left"))
            self.still, self.place = float(said.get("still", 0)), str(said.get("place", self.place))
            if said.get("left") is False:
                self.cause = str(said.get("cause", ""))
                raise ConnectionError("it has failed")

    @property
    def name(self) -> str:
        """Which it is, in words."""
        return f"rank {self.rank} of the run, on {self.host},"

    @property
    def loss(self) -> str:
        """That it is lost, in words."""
        return f"{self.name} failed: {self.cause}" if self.cause else f"{self.name} has ended or is out of reach"

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
        self._guests: dict[int, Guest] = {}  # those that are here
        self._known: set[int] = set()  # ranks that are in touch, or were
        self._lost: str | None = None  # which was lost first, in words
        self._standing, self._is_told, self._next_look = Standing(), False, 0.0
        self._selector = selectors.DefaultSelector()
        try:
            self._door = listen(port)
        except OSError as error:
            raise UserError(f"MASTER_PORT={port}: this node cannot listen there: {meeting.reason_of(error)}") from error
        self._selector.register(self._door, selectors.EVENT_READ)

    @property
    def is_complete(self) -> bool:
        """Whether all others have come in touch."""
        return len(self._known) >= world_size() - 1

    def greet(self) -> str | None:
        """Hear those that come in touch, and those that fail."""
        return self._hear(0)

    def meet(self, asked: Callable[[], bool], lost: Callable[[], str | None], open_store: Callable[[], int]) -> None:
        """Wait for the others."""

        def stops() -> bool:
            return asked() or any(guest.asked for guest in self._guests.values())

        began = reminded = time.monotonic()
        ends: float | None = None  # when it no longer waits, once somebody was asked to stop
        while missing := [rank for rank in range(1, world_size()) if rank not in self._guests]:
            if ends is None and stops():
                ends = time.monotonic() + meeting.FAREWELL_SECONDS
            if ends is not None and time.monotonic() >= ends:
                break
            cause = lost() or self._hear(meeting.LOOK_SECONDS) or self._other_size()
            if cause and not stops():
                raise TrainingError(lost() or cause)
            if time.monotonic() - reminded >= meeting.REMINDER_SECONDS:
                reminded = time.monotonic()
                say(f"waiting for {name_ranks(missing)} of {world_size()}; here are {self._name_hosts()}")
            if time.monotonic() - began >= meeting.MEETING_SECONDS:
                raise UserError(
                    f"{name_ranks(missing)} of {world_size()} did not come within {meeting.MEETING_SECONDS:.0f} s; "
                    f"here are {self._name_hosts()}: see what they say; if they wait for this one, {meeting.ADVICE}"
                )
        if (cause := self._hear(0) or self._other_size()) and not stops():
            raise TrainingError(cause)
        self._close_door()
        self._begin(open_store, go=not missing and not stops())

    def _other_size(self) -> str | None:
        """Who has counted other processes than this one, in words: nodes with unequal numbers of devices."""
        counts = (
            f"{guest.name} is one of {guest.size} processes, and rank 0 one of {world_size()}"
            for guest in self._guests.values()
            if guest.size != world_size()
        )
        return next(counts, None)

    def _begin(self, open_store: Callable[[], int], *, go: bool) -> None:
        """Tell all whether and where torch begins."""
        # Not a free port that torch takes later: until then another program may have taken it.
        port, connections = open_store() if go else 0, self._connections()
        interface = meeting.interface_of_any(connections)
        for connection in connections:
            with suppress(OSError):
                connection.send({"go": go, "port": port, "interface": interface})
        if not go:
            meeting.refuse_to_begin()
        meeting.meet_torch_at(LOOPBACK, port, interface)

    def _hear(self, seconds: float) -> str | None:
        """Wait so long for what others say; returns who was lost."""
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
                    self._lost = self._lost or guest.loss
            if guest.rank > 0:
                self._known.add(guest.rank)
            if guest.size > 0:
                self._guests[guest.rank] = guest
        return self._lost

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

    def leave(self, *, in_order: bool, cause: str = "") -> None:
        """Close all connections; in order only once the other processes have ended."""
        self._close_door()
        for connection in self._connections():
            with suppress(OSError):
                connection.send({"left": in_order})
        deadline = time.monotonic() + meeting.LEAVING_SECONDS * in_order
        while time.monotonic() < deadline and self._connections():
            self._hear(meeting.LOOK_SECONDS)
        for connection in self._connections():
            connection.close()
        self._selector.close()

    def _connections(self) -> list[Connection]:
        """Those to the others that have not ended."""
        guests = [key.data for key in self._selector.get_map().values() if key.data is not None]
        return [guest.connection for guest in guests if guest.rank > 0]

    def _close_door(self) -> None:
        if self._door.fileno() >= 0:
            self._selector.unregister(self._door)
            self._door.close()

    def _name_hosts(self) -> str:
        """Who is there, in words."""
        hosts = sorted({platform.node(), *(guest.host for guest in self._guests.values())})
        return f"{len(self._guests) + 1}, on {', '.join(hosts[:8])}{' ...' * (len(hosts) > 8)}"


def listen(port: int) -> socket.socket:
    """A socket that others reach by any address of this machine; by the loopback alone where all others are on it."""
    if os.environ.get("MASTER_ADDR") == LOOPBACK and launched_nodes() == 1:
        return socket.create_server((LOOPBACK, port), backlog=world_size())
    if not socket.has_dualstack_ipv6():
        return socket.create_server(("", port), backlog=world_size())
    return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=world_size())
