"""A real SLURM cluster: what srun was told is not said again, and what cannot work is told at once.

The cluster must see this machine's files and have two nodes. Every command has its limit of time.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlib.runs.record import read_record
from tests.exactness.ranks import assert_equal_within_float_tolerance
from tests.launching import ROOT, Place, environment, recorded_steps, train
from tests.slurm.cluster import LIMIT_SECONDS, run

pytestmark = pytest.mark.slurm
GOAL = ("--training_goal", "6", "--eval_interval", "3", "--exact_reduce")
NAME = ("--job-name", "starts", "--time", "10")


@pytest.fixture(scope="module")
def alone(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run `one` of a single process."""
    scratch = tmp_path_factory.mktemp("starts")
    place = replace(session_place, runs=scratch / "runs")
    assert train(place.arguments("one", *GOAL), scratch).status == 0
    return place


def srun(place: Place, name: str, options: Sequence[str], *further: str) -> "subprocess.CompletedProcess[str]":
    """Trains in a step of SLURM."""
    return run(step(place, name, options, *further))


def step(place: Place, name: str, options: Sequence[str], *further: str) -> list[str]:
    """The command that trains in a step of SLURM."""
    return ["srun", *NAME, *options, sys.executable, "train.py", *place.arguments(name, *GOAL, *further)]


@contextmanager
def started(words: Sequence[str]) -> "Iterator[subprocess.Popen[str]]":
    """A command in a process group of its own, killed at the end."""
    limits = ("timeout", "--kill-after=10", str(LIMIT_SECONDS))
    options: Any = {"cwd": ROOT, "env": environment(), "text": True, "start_new_session": True}
    with subprocess.Popen([*limits, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    """What a condition gives as soon as it is so, while a process lives."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def tasks_of(name: str) -> dict[int, int]:
    """The processes of a run's tasks, by their numbers in the step."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = dict(entry.partition(b"=")[::2] for entry in (folder / "environ").read_bytes().split(b"\0"))
            if words[1:4] == [b"train.py", b"-n", name.encode()] and b"SLURM_PROCID" in variables:
                found[int(variables[b"SLURM_PROCID"])] = int(folder.name)
    return found


@pytest.mark.parametrize(
    ("options", "further", "processes"),
    [
        (("-N2", "--ntasks-per-node=1"), (), 2),
        (("-N1", "-n2"), (), 2),
        pytest.param(("-N2", "--ntasks-per-node=2"), (), 4, marks=pytest.mark.slow),
        pytest.param(("-N2", "--ntasks-per-node=1"), ("--num_devices", "2"), 4, marks=pytest.mark.slow),
    ],
    ids=["two nodes", "two tasks", "two by two", "one task with two devices on each of two nodes"],
)
def test_nodes_and_devices_are_not_said_twice(
    alone: Place, options: Sequence[str], further: Sequence[str], processes: int
) -> None:
    name = f"started{'-'.join(options)}{''.join(further)}".replace("=", "")
    done = srun(alone, name, options, *further)
    assert done.returncode == 0, done.stderr
    record = read_record(alone.folder(name))
    assert record is not None
    assert record["hardware"]["processes"] == processes
    assert_equal_within_float_tolerance(alone.folder(name), alone.folder("one"))
    assert alone.folder(name).metrics.read_bytes() == alone.folder("one").metrics.read_bytes()


@pytest.mark.parametrize(
    ("options", "further", "told"),
    [
        (("-N2", "-n3"), (), "tasks on the nodes, for 1 devices on each: add --ntasks-per-node"),
        (
            ("-N2", "--ntasks-per-node=2"),
            ("--num_devices", "4", "-b", "16"),
            "2 tasks on each node, for 4 devices there: give --ntasks-per-node 4",
        ),
        (("-N2", "-n2"), ("--num_nodes", "3"), "--num_nodes 3: the processes of this run were started on 2"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_flag_to_change(
    alone: Place, options: Sequence[str], further: Sequence[str], told: str
) -> None:
    done = srun(alone, "refused", options, *further)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert not alone.folder("refused").root.exists()


def test_a_forgotten_srun_is_told_at_once(alone: Place, tmp_path: Path) -> None:
    job = tmp_path / "job.sh"
    words = " ".join([sys.executable, str(ROOT / "train.py"), *alone.arguments("forgotten", *GOAL)])
    job.write_text(f"#!/bin/bash\ncd {ROOT}\n{words}\n")
    done = run(["sbatch", "--wait", *NAME, "-N2", "--output", "job.log", "job.sh"], cwd=tmp_path)
    log = (tmp_path / "job.log").read_text()
    assert (done.returncode, log.count("\n")) == (2, 1), done.stderr + log
    assert log.startswith("error: this SLURM job has 2 nodes, and nobody has started the processes of the others")


@pytest.mark.parametrize("moment", ["first lines", "steps"])
def test_a_signal_to_the_step_ends_it_with_75_although_one_bad_exit_kills_all(alone: Place, moment: str) -> None:
    name = moment.replace(" ", "-")
    folder = alone.folder(name)
    words = step(alone, name, ("-N2", "--ntasks-per-node=1", "--kill-on-bad-exit=1"), "--training_goal", "5000")
    with started(words) as process:
        tasks = wait_for(lambda: len(found := tasks_of(name)) == 2 and found, process)
        if moment == "steps":
            wait_for(lambda: recorded_steps(folder) > 2, process)
        job = dict(entry.partition(b"=")[::2] for entry in Path(f"/proc/{tasks[0]}/environ").read_bytes().split(b"\0"))[
            b"SLURM_JOB_ID"
        ].decode()
        wait_for(lambda: all(takes_usr1(pid) for pid in tasks.values()), process)
        subprocess.run(["scancel", "--signal=USR1", job], check=True)
        _, stderr = process.communicate()
    assert process.returncode == 75, stderr
    status = folder.read_status()
    assert (status.state if status else None) == ("preempted" if moment == "steps" else None), stderr


def takes_usr1(pid: int) -> bool:
    """Whether a process has a handler of SIGUSR1."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigCgt" in line)
    return bool(int(line.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)


def test_a_task_that_is_killed_ends_the_others_within_seconds_and_is_named(alone: Place) -> None:
    folder = alone.folder("killed")
    with started(step(alone, "killed", ("-N2", "--ntasks-per-node=1"), "--training_goal", "5000")) as process:
        wait_for(lambda: recorded_steps(folder) > 2, process)
        os.kill(tasks_of("killed")[1], signal.SIGKILL)
        began = time.monotonic()
        _, stderr = process.communicate()
    assert time.monotonic() - began < 30
    status = folder.read_status()
    assert status is not None
    assert status.state == "failed"
    assert str(status.reason).startswith("rank 1 of the run, on n"), stderr
    assert "Traceback" not in stderr


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs to take names away")
def test_nodes_whose_names_lead_nowhere_meet_by_the_address_that_slurm_knows(alone: Place, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    words = " ".join([sys.executable, "train.py", *alone.arguments("nameless", *GOAL)])
    (tmp_path / "task.sh").write_text(f"mount --bind {tmp_path}/hosts /etc/hosts\n! getent hosts n1 && exec {words}\n")
    options = ("-N2", "--ntasks-per-node=1", "unshare", "--mount", "bash", str(tmp_path / "task.sh"))
    done = run(["srun", *NAME, *options])
    assert done.returncode == 0, done.stderr
    assert alone.folder("nameless").metrics.read_bytes() == alone.folder("one").metrics.read_bytes()
