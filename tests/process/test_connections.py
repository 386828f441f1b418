"""Messages between processes: whole or not at all, and a door that nobody's failure closes."""

import resource
import socket
from typing import Any

import pytest

from dlib.process.connections import Connection, free_port, is_name, leads_somewhere, resolves_own_name
from dlib.process.meeting_first import First

SMALL_BYTES = 1 << 16


def test_no_message_is_torn_where_the_other_end_listens_late() -> None:
    heard: list[dict[str, Any]] = []
    with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as here:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)
        here.connect(door.getsockname())
        speaker, listener = Connection(here), Connection(door.accept()[0])
        for number in range(200):
            speaker.send({"number": number, "place": "x" * 10 * SMALL_BYTES})  # more than is taken at once
            if number % 5 == 4:
                heard += listener.receive()
        listener.close()
    assert 2 <= len(heard) < 200
    assert {len(message["place"]) for message in heard} == {10 * SMALL_BYTES}


def test_one_at_the_door_for_whom_there_is_no_file_left_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    port = free_port()
    first, limits = First(port), resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(("127.0.0.1", port)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            assert first.look() is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            first.leave(in_order=False)


@pytest.mark.parametrize("name", ["a..b", ".n1", "n" * 64, "\udcff"])
def test_what_no_machine_can_be_called_leads_nowhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_name(name)
    assert not leads_somewhere(name)
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert not resolves_own_name()


@pytest.mark.parametrize("name", ["n1", "n1.cluster.", "10.0.0.1", "fe80::1%eth0", "bücher.example", "login_1"])
def test_any_other_name_may_lead_somewhere(name: str) -> None:
    assert is_name(name)
