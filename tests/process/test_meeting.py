"""Processes that somebody else has started: who is missing, dead or still is told by name, in a bounded time."""

import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dlib.process.connections import MOST_BYTES, free_port, interface_of
from dlib.process.meeting import name_run
from dlib.process.meeting_first import listen
from dlib.process.standing import Standing, side_by_side
from tests.launching import ROOT, environment

SCRIPT = """
import atexit, os, signal, sys, time
from dlib.process import launching, meeting
from dlib.process.early_contact import in_touch, tell_loss
from dlib.process.errors import run_script
from dlib.process.standing import Standing
meeting.MEETING_SECONDS, meeting.REMINDER_SECONDS, meeting.NAMELESS_SECONDS = 3, 1, 1
meeting.FAREWELL_SECONDS, meeting.LEAVING_SECONDS = 1.5, 2.5
meeting.STILL_SECONDS, meeting.SILENT_SECONDS = 2.0, 0.8
meeting.BEAT_SECONDS, meeting.GRACE_SECONDS = 0.1, 0.5
atexit.register(time.sleep, {linger})
asked = []
signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(number))
def stand():
    time.sleep(60)
def move():
    while True:  # longer than two looks are apart, each line shorter: no two of them find the same
        time.sleep(0.05)
        time.sleep(0.07)
        time.sleep(0.11)
        time.sleep(0.13)
def idle():
    while True:
        time.sleep(0.5)
        Standing.moves += 1
def main():
    print("up", flush=True)
    with in_touch():
        {before}
        with launching.launched(1, {size}, asked=lambda: bool(asked), open_store=lambda: 4711):
            print("began", flush=True)
            {body}
run_script(main)
"""
STOPPED = "stopped before the first step, with nothing to save: the same command goes on"
STAND = "stand()"
STOP = "os.kill(os.getpid(), signal.SIGSTOP)"
MOVE = "move()"
PATIENT = "meeting.FAREWELL_SECONDS = 30"
DIE = "os.kill(os.getpid(), signal.SIGKILL)"


NAMED_LOCALHOST = 'echo localhost > /proc/sys/kernel/hostname && exec "$0" "$@"'
"""A shell's word for a program on a machine whose own name leads to the loopback."""
ON_SUCH = ["unshare", "--map-root-user", "--uts", "sh", "-c", NAMED_LOCALHOST]


@contextmanager
def rank(
    number: int,
    port: int,
    body: str = "pass",
    size: int = 2,
    address: str = "127.0.0.1",
    linger: float = 0.0,
    within: Sequence[str] = (),
    before: str = "pass",
) -> "Iterator[subprocess.Popen[str]]":
    """A process of a run, as any launcher starts it."""
    place = {"RANK": number, "LOCAL_RANK": 0, "WORLD_SIZE": size, "MASTER_PORT": port, "MASTER_ADDR": address}
    variables = {**environment(), **{name: str(value) for name, value in place.items()}, "PYTHONPATH": str(ROOT)}
    script = SCRIPT.format(size=size, body=body, linger=linger, before=before)
    words = [*within, sys.executable, "-c", script]
    with subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def end_of(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit status and stderr."""
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def test_all_meet_and_leave() -> None:
    port = free_port()
    body = "print(os.environ['MASTER_PORT'])"
    with rank(0, port, body, 3) as first, rank(2, port, body, 3) as third, rank(1, port, body, 3) as second:
        ends = [process.communicate(timeout=60) for process in (first, second, third)]
        assert [process.returncode for process in (first, second, third)] == [0, 0, 0], ends
    assert {stderr for _, stderr in ends} == {""}
    assert {stdout for stdout, _ in ends} == {"began\n4711\n"}, "torch meets where it listens already"


@pytest.mark.parametrize("asked", [False, True])
def test_the_first_ends_last(asked: bool) -> None:
    port, size = free_port(), 2 + asked
    with rank(1, port, size=size, linger=1.0) as second, rank(0, port, size=size) as first:
        if asked:
            first.send_signal(signal.SIGUSR1)
        assert end_of(first)[0] == 75 * asked
        assert second.wait(0.3) == 0


def test_who_does_not_come_is_told_and_waited_for_in_a_bounded_time() -> None:
    port = free_port()
    with rank(0, port, size=3) as first, rank(2, port, size=3) as third:
        status, told = end_of(first)
        others = end_of(third)
    assert status == 2
    assert others == (1, "error: rank 0 of the run, on 127.0.0.1, has failed, and says why\n")
    here = f"rank 1 of 3; here are 2, on {platform.node()}"
    assert f"waiting for {here}\n" in told
    assert told.splitlines()[-1].startswith("error: rank 1 of 3 did not come within 3 s; here are 2, on ")


@pytest.mark.parametrize("asked", [0, 1])
def test_one_that_was_asked_to_stop_while_it_waits_ends_all_with_nothing_to_save(asked: int) -> None:
    port = free_port()
    with rank(0, port, size=3) as first, rank(1, port, size=3) as second:
        time.sleep(0.5)
        (first, second)[asked].send_signal(signal.SIGUSR1)
        time.sleep(0.5)  # the first is to hear of it before all are there
        with rank(2, port, size=3) as late:
            assert end_of(late) == (0, "")
        status, told = end_of(first)
        assert (status, told.splitlines()[-1]) == (75, STOPPED)
        assert end_of(second) == (0, "")


def test_one_that_was_asked_before_the_first_listens_tells_it() -> None:
    port = free_port()
    with rank(1, port) as second:
        time.sleep(0.5)
        second.send_signal(signal.SIGUSR1)
        with rank(0, port) as first:
            assert [end_of(process)[0] for process in (first, second)] == [75, 0]


def test_the_first_that_was_asked_to_stop_does_not_wait_long_for_those_that_do_not_come() -> None:
    with rank(0, free_port()) as first:
        time.sleep(0.5)
        first.send_signal(signal.SIGUSR1)
        assert end_of(first)[0] == 75


@pytest.mark.parametrize("prepares", ["pass", "time.sleep(60)"], ids=["waits for it", "still prepares"])
@pytest.mark.parametrize("head_start", [0.0, 1.0], ids=["later", "earlier"])
def test_one_that_fails_before_all_meet_ends_the_first_which_says_why(prepares: str, head_start: float) -> None:
    port = free_port()
    prepares = f"tell_loss(lambda cause: print('told:', cause, file=sys.stderr), lambda: False); {prepares}"
    with rank(1, port, before=f"{PATIENT}; raise ValueError('no device')") as second:
        time.sleep(head_start)
        with rank(0, port, before=prepares) as first:
            status, told = end_of(first)
            assert end_of(second)[0] == 1
    cause = f"rank 1 of the run, on {platform.node()}, failed: ValueError: no device\n"
    assert status == 1
    assert told in (f"error: {cause}", f"error: {cause}told: {cause}")
    assert ("told:" in told) == ("60" in prepares), "an exception tells it else"


@pytest.mark.parametrize("prepares", ["pass", "time.sleep(60)"], ids=["waits for it", "still prepares"])
@pytest.mark.parametrize("head_start", [0.0, 1.0], ids=["later", "earlier"])
def test_a_first_that_fails_before_all_meet_ends_the_others(prepares: str, head_start: float) -> None:
    port = free_port()
    with rank(0, port, before=f"{PATIENT}; raise launching.UserError('in use')") as first:
        time.sleep(head_start)
        with rank(1, port, before=prepares) as second:
            assert end_of(first) == (2, "error: in use\n")
            assert end_of(second) == (1, "error: rank 0 of the run, on 127.0.0.1, has failed, and says why\n")


def test_processes_that_make_the_same_mistake_before_they_meet_each_say_so() -> None:
    port, mistake = free_port(), "raise launching.UserError('no such file')"
    with rank(0, port, before=mistake) as first, rank(1, port, before=mistake) as second:
        assert [end_of(process) for process in (second, first)] == [(2, "error: no such file\n")] * 2


def test_processes_that_have_nothing_to_do_end_before_they_meet() -> None:
    port, done = free_port(), "raise SystemExit(0)"
    with rank(0, port, before=done) as first, rank(1, port, before="time.sleep(1); " + done) as second:
        assert [end_of(process) for process in (first, second)] == [(0, "")] * 2


def test_a_process_that_dies_ends_the_first_which_says_which() -> None:
    port = free_port()
    with rank(0, port, STAND) as first, rank(1, port, DIE):
        status, told = end_of(first)
    assert (status, told) == (1, f"error: rank 1 of the run, on {platform.node()}, has ended or is out of reach\n")


def test_one_that_ends_quietly_is_not_missed_while_the_first_takes_its_time_to_say_why() -> None:
    port, body = free_port(), "time.sleep(2); raise launching.TrainingError('no number')"
    with rank(0, port, body) as first, rank(1, port, "raise SystemExit(0)") as second:
        assert end_of(second) == (0, "")
        assert end_of(first) == (1, "error: no number\n")


def test_the_others_outlive_the_first_by_seconds_only() -> None:
    port = free_port()
    with rank(0, port, DIE), rank(1, port, STAND) as second:
        status, told = end_of(second)
    assert (status, told) == (1, "error: rank 0 of the run, on 127.0.0.1, has ended or is out of reach\n")


@pytest.mark.parametrize(
    ("body", "state"),
    [(STAND, r"rank 1: <string>:\d+ \(stand\)"), (STOP, "rank 1: silent, on .*"), (MOVE, "rank 1: moving")],
    ids=["still", "stopped", "moving"],
)
def test_where_the_first_stands_still_it_is_told_what_each_process_does(body: str, state: str) -> None:
    port = free_port()
    with rank(0, port, "time.sleep(4)") as first, rank(1, port, body):
        told = end_of(first)[1]
    own = r"warning: rank 0 has not moved for \d s; rank 0: <string>:\d+ \(main\)"
    assert re.fullmatch(rf"{own}; {state}\n", told), told


def test_a_first_that_says_that_it_moves_is_not_told_as_still() -> None:
    port = free_port()
    with rank(0, port, "idle()") as first, rank(1, port, STAND):
        time.sleep(5)
        first.kill()
        assert end_of(first)[1] == ""


def test_a_name_that_leads_nowhere_is_told_with_what_to_set() -> None:
    with rank(1, free_port(), address="no-such-node.invalid") as second:
        status, told = end_of(second)
    assert status == 2
    assert told.splitlines()[-1].startswith("error: rank 0 of the run is not reached at no-such-node.invalid:")
    assert told.endswith("; set MASTER_ADDR to an address of the first node that all nodes reach\n")


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with rank(0, port) as first:
            told = f"error: MASTER_PORT={port}: this node cannot listen there: Address already in use\n"
            assert end_of(first) == (2, told)


@pytest.mark.parametrize(("here", "address"), [("2", "127.0.0.1"), ("1", "127.0.0.1"), ("2", "n1")])
def test_processes_of_one_machine_are_not_reached_from_others(
    monkeypatch: pytest.MonkeyPatch, here: str, address: str
) -> None:
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": here, "MASTER_ADDR": address}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with listen(free_port()) as door:
        assert (door.getsockname()[0] == "127.0.0.1") == (here == "2" and address == "127.0.0.1")


def test_strangers_at_the_door_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    port, run = free_port(), name_run().encode()
    words = [
        b"GET / HTTP/1.1\n",
        b'{"rank": 1, "host": "n1", "run": "other"}\n',
        b"[]\n",
        b"5\n",
        b"[" * 50_000 + b"\n",
    ]
    words += [b'{"run": "%s", "rank": %s}\n' % (run, number) for number in (b"0", b"2", b"-1", b"Infinity", b"null")]
    with rank(0, port) as first:
        time.sleep(0.5)
        for word in [*words, b"x" * (2 * MOST_BYTES)]:
            with socket.create_connection(("127.0.0.1", port)) as stranger, suppress(ConnectionError):
                stranger.sendall(word)
                assert stranger.recv(1) == b""
        with rank(1, port) as second:
            assert [end_of(process)[0] for process in (first, second)] == [0, 0]


def test_a_thread_that_moves_is_not_still() -> None:
    standing = Standing()
    began = time.monotonic()
    while time.monotonic() - began < 0.2:
        pass
    assert standing.look() < 0.1


def test_who_stands_alone_comes_first() -> None:
    places = dict.fromkeys(range(12), "here") | {5: "there"}
    assert side_by_side(places) == "rank 5: there; ranks 0, 1, 2, 3, 4, 6, 7, 8 ... (11 of them): here"


@pytest.mark.skipif(not Path("/sys/class/net/lo").exists(), reason="needs Linux")
def test_the_interface_of_an_address_is_found() -> None:
    assert (interface_of("127.0.0.1"), interface_of("192.0.2.1")) == ("lo", None)


def outward_address() -> str | None:
    """The address by which others would reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking, suppress(OSError):
        asking.connect(("198.51.100.1", 9))  # sends nothing
        return str(asking.getsockname()[0])
    return None


def test_where_a_name_leads_to_the_loopback_all_of_a_machine_take_the_interface_that_others_reach() -> None:
    port, body, address = free_port(), "print(os.environ.get('GLOO_SOCKET_IFNAME'))", outward_address()
    works = shutil.which("unshare") and subprocess.run([*ON_SUCH, "true"], capture_output=True).returncode == 0
    if address is None or not works:
        pytest.skip("needs a network, and leave to name a machine")
    with (
        rank(0, port, body, 3, within=ON_SUCH) as first,
        rank(1, port, body, 3, "127.0.1.1", within=ON_SUCH) as beside,
        rank(2, port, body, 3, address, within=ON_SUCH) as further,
    ):
        told = {process.communicate(timeout=60)[0] for process in (first, beside, further)}
    assert told == {f"began\n{interface_of(address)}\n"}
