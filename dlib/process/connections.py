"""A connection between two processes of a run: short messages, a dead machine noticed, and which interface it takes."""

import json
import socket
import struct
from contextlib import suppress
from typing import Any

TIMES = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 60_000}
"""By these a machine counts as lost that was silent for a minute: the system answers, whatever the program does."""
ASK_FOR_ADDRESS = 0x8915
"""Linux's SIOCGIFADDR."""
MOST_BYTES = 1 << 20
"""What a process of a run says at once is far less, however long nobody has listened."""


class Connection:
    """Messages over a socket; neither end ever waits for the other."""

    def __init__(self, opened: socket.socket) -> None:
        """Take a connected socket."""
        self.socket = opened
        self._received = b""
        self._begun = b""  # what is left of a message of which the other end took the beginning
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, number in TIMES.items():
            with suppress(AttributeError, OSError):  # not every system has them
                opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), number)

    def fileno(self) -> int:
        """The number of the socket, for `select`."""
        return self.socket.fileno()

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have come since the last call.

        Raises:
            OSError: the other end has closed it, or its machine is lost.
            ValueError: the other end is no process of a run.
        """
        with suppress(BlockingIOError):
            while chunk := self.socket.recv(1 << 16):
                self._received += chunk
                if len(self._received) > MOST_BYTES:
                    raise ValueError("the other end says more than a process of a run does")
            if b"\n" not in self._received:
                raise ConnectionError("the other end has closed the connection")
        *lines, self._received = self._received.split(b"\n")
        try:
            return [dict(json.loads(line)) for line in lines]
        except (TypeError, RecursionError) as error:
            raise ValueError("the other end is no process of a run") from error

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; it is lost, but never torn, where the other end takes none at present.

        Raises:
            OSError: the other end has closed it, or its machine is lost.
        """
        with suppress(BlockingIOError):
            self._begun = self._begun[self.socket.send(self._begun) :]
            if not self._begun:
                line = json.dumps(message).encode() + b"\n"
                self._begun = line[self.socket.send(line) :]

    def close(self) -> None:
        """Close it, for processes too that were forked from this one and hold it as well."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    @property
    def own_address(self) -> str:
        """The address of this machine that the connection takes."""
        return str(self.socket.getsockname()[0]).removeprefix("::ffff:")

    @property
    def other_address(self) -> str:
        """The address of the other machine."""
        return str(self.socket.getpeername()[0])


def leads_somewhere(name: str) -> bool:
    """Whether a host's name or address is known here."""
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return False
    return True


def is_name(text: str) -> bool:
    """Whether a machine could have such a name or address: nobody can be asked for `a..b`, or a part of 64 letters."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether an address leads to the machine that uses it."""
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def resolves_own_name() -> bool:
    """Whether this machine's name leads to an address that others reach."""
    try:
        return not is_loopback(socket.gethostbyname(socket.gethostname()))
    except (OSError, UnicodeError):  # the latter where it has 64 letters, which Linux allows
        return False


def interface_of(address: str) -> str | None:
    """The network interface of this machine with an IPv4 address; None where the system does not tell."""
    import fcntl  # not on every system

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has no address
                answer = fcntl.ioctl(asking, ASK_FOR_ADDRESS, struct.pack("256s", name.encode()[:15]))
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return None


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
