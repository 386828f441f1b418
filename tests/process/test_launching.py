"""Further processes: started once, told where they meet, and missed in a bounded time, with the cause in one line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.measuring.processes import Processes
from dlib.process.early_contact import open_meeting
from dlib.process.errors import UserError
from dlib.process.launching import describe_end, refuse_missing_launcher
from dlib.process.slurm_step import first_node_of_step, port_of_step
from dlib.training.devices import Devices
from dlib.training.trainer import build_trainer
from tests.launching import ROOT, Place, start_warm
from tests.process.test_ranks import SRUN, TORCHRUN, VARIABLES, set_environment

BY_HAND = {"NODE_RANK": "1", "MASTER_ADDR": "n1", "MASTER_PORT": "1234"}
SCRIPT = """
import os, signal, sys, time
from dlib.process import launching, meeting
from dlib.process.errors import run_script
from dlib.process.ranks import end_with_launcher
meeting.GRACE_SECONDS = 0.5 if {first!r} == "waits" else 60
def main():
    end_with_launcher()
    with launching.launched(3, 1, on_loss=lambda cause: print("told:", cause)):
        print("rank", os.environ["RANK"], flush=True)
        if os.environ["RANK"] == "1":
            {other}
        if os.environ["RANK"] == "2" or {first!r} == "waits":
            time.sleep(120)
        raise {first}
run_script(main)
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
MISSED = "RuntimeError('gloo/tcp/pair.cc: Connection closed by peer')"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *BY_HAND):
        monkeypatch.delenv(name, raising=False)


def run_three(tmp_path: Path, first: str, other: str) -> "subprocess.CompletedProcess[str]":
    """Runs three processes: the first and the last wait or raise `first`, rank 1 does something else."""
    script = tmp_path / "three.py"
    script.write_text(SCRIPT.format(first=first, other=other), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    words = [sys.executable, str(script)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("first", ["waits", MISSED])
def test_a_process_that_was_killed_ends_the_first_which_waits_for_it_or_misses_it(tmp_path: Path, first: str) -> None:
    done = run_three(tmp_path, first, KILLED)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        "error: a process was ended by signal 9, Killed (mostly because memory ran out): rank 1 of the run, process "
    )
    assert ("told: a process was ended" in done.stdout) == (first == "waits"), "an exception tells it else"


def test_an_error_of_the_first_process_is_not_blamed_on_the_others(tmp_path: Path) -> None:
    done = run_three(tmp_path, "ValueError('my own')", "time.sleep(120)")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: my own\n")


@pytest.mark.parametrize(
    ("status", "told"), [(3, "ended with status 3"), (-15, "signal 15, Terminated"), (-40, "signal 40")]
)
def test_an_end_is_told_in_words(status: int, told: str) -> None:
    assert told in describe_end(status)


def test_a_signal_while_processes_start_ends_them_and_one_that_is_killed_later_leaves_a_run_that_says_so(
    place: Place, tmp_path: Path
) -> None:
    folder = place.folder("run")
    arguments = place.arguments("run", "--training_goal", "400", "--save_interval", "2", "--num_devices", "2")
    with start_warm(arguments, tmp_path) as training:
        training.wait_for(lambda: "optimizer    " in training.stderr and len(training.living_processes()) == 2)
        training.signal_group(signal.SIGTERM)
        assert training.result().status == 75, training.stderr
    assert folder.pointed_step("last") is None
    assert "stopped before the first step, with nothing to save: the same command goes on" in training.stderr
    with start_warm(arguments, tmp_path) as training:
        training.wait_for(lambda: folder.pointed_step("last") is not None)
        (other,) = {*training.living_processes()} - {training.pid}
        os.kill(other, signal.SIGKILL)
        result = training.result()
    assert (result.status, "Traceback" in result.stderr) == (1, False), result.stderr
    assert result.last_line.startswith("error: a process was ended by signal 9, Killed (mostly because memory ran out)")
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.step) == ("failed", folder.whole_checkpoints()[-1][0])
    assert f"process {other}" in str(status.reason)


def test_another_number_of_processes_than_the_devices_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
    devices = Devices("cpu", (0, 0), 1, "32-true", ("CPU process",) * 2)
    told = "1 processes were started, and --num_devices 2 --num_nodes 1 make 2"
    with pytest.raises(UserError, match=told):
        build_trainer(devices, "auto", [])
    with pytest.raises(UserError, match=told):
        Processes(devices)


def test_several_machines_without_a_launcher_are_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"^--num_nodes 2: nobody has started .* torchrun --nnodes 2 or srun --nodes 2"):
        refuse_missing_launcher(2)
    refuse_missing_launcher(1)


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN])
def test_several_machines_with_a_launcher_are_not(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    set_environment(monkeypatch, variables)
    refuse_missing_launcher(2)


@pytest.mark.parametrize("number", ["0", "1"])
def test_processes_that_nobody_told_where_to_meet_are_refused(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    set_environment(monkeypatch, {"RANK": number, "WORLD_SIZE": "2", "MASTER_ADDR": "n1"})
    with pytest.raises(UserError, match="WORLD_SIZE=2 in the environment, without MASTER_PORT: set or unset all"):
        open_meeting()


@pytest.mark.parametrize("number", ["0", "1"])
@pytest.mark.parametrize("port", ["0", "-1", "65536"])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, number: str, port: str) -> None:
    place = {"RANK": number, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    set_environment(monkeypatch, place)
    with pytest.raises(UserError, match=rf"MASTER_PORT={port}: a port is a number from 1 to 65535"):
        open_meeting()


def test_a_start_by_hand_says_for_whom_it_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, BY_HAND)
    refuse_missing_launcher(3)
    assert capsys.readouterr().err == "waiting at n1:1234 for NODE_RANK 0, 2 to be started\n"
    with pytest.raises(UserError, match="NODE_RANK=1: --num_nodes 1 has machines from 0 to 0"):
        refuse_missing_launcher(1)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n7", "n7"), ("n[01-03,7],m4", "n01"), ("n[3,5]-ib", "n3-ib"), ("r[1-2]n[3-4]", "r1n3"), ("a,b[1-2]", "a")],
)
def test_the_processes_of_a_slurm_step_meet_on_its_first_node(
    monkeypatch: pytest.MonkeyPatch, nodes: str, first: str
) -> None:
    set_environment(monkeypatch, {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": nodes})
    assert first_node_of_step() == first
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "1")
    assert first_node_of_step() == "127.0.0.1"


def test_the_steps_of_a_job_and_of_its_neighbours_meet_at_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = set()
    for job in range(10_000, 10_100):
        for step in range(4):
            set_environment(monkeypatch, {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)})
            ports.add(port_of_step())
    assert len(ports) == 400
    assert all(10_000 <= port < 30_000 for port in ports)
