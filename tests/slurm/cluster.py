"""A real SLURM cluster: what is asked of it, and what a test does to it. Every command has its limit of time."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.launching import ROOT, environment

LIMIT_SECONDS = 400


def skip_without_cluster() -> None:
    """Skips where no SLURM answers."""
    if shutil.which("srun") is None:
        pytest.skip("needs a SLURM cluster: srun is not installed")
    if subprocess.run(["timeout", "10", "scontrol", "ping"], capture_output=True).returncode != 0:
        pytest.skip("needs a SLURM cluster: none answers")


def run(words: Sequence[str], cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Runs a command that gives up after a while, and a job that it waits for too."""
    limits = ("timeout", "--kill-after=10", str(LIMIT_SECONDS))
    return subprocess.run([*limits, *words], cwd=cwd, env=environment(), capture_output=True, text=True)


def ask(*words: str) -> str:
    """What a command prints that does not fail."""
    done = run(words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = LIMIT_SECONDS) -> None:
    """Waits for something, with a limit."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after {seconds} seconds"
        time.sleep(0.2)


def node_of(job: str) -> str:
    """The node that a job has alone: what is done to the node would be done to its other jobs too."""
    node = ask("squeue", "--noheader", "--jobs", job, "--format", "%N")
    assert ask("squeue", "--noheader", "--nodelist", node, "--format", "%A") == job, "a job that is not --exclusive"
    return node


def preempt(job: str) -> None:
    """Sends a job of the partition `high` to the node of this one."""
    words = ["--partition", "high", "--nodelist", node_of(job), "--exclusive", "--output", os.devnull]
    ask("sbatch", *words, "--job-name", "preempting", "--time", "1", "--wrap", "sleep 3")


def lose_node(job: str) -> Callable[[], None]:
    """Ends all that runs for a job, with its node's slurmd, as a dying machine does; returns what brings it back."""
    daemon = process_of(["slurmd", "-N", node_of(job)])
    if daemon is None or os.getuid() != 0:
        pytest.skip("needs nodes that are processes of this machine, and root")
    command = Path(f"/proc/{daemon}/cmdline").read_text().rstrip("\0").split("\0")
    names = os.open(f"/proc/{daemon}/ns/uts", os.O_RDONLY)  # a node has a host name of its own
    for pid in (daemon, *processes_of_job(job)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def bring_back() -> None:
        words = ["nsenter", f"--uts=/proc/self/fd/{names}", *command]
        subprocess.run(words, pass_fds=[names], check=True, timeout=30)
        os.close(names)

    return bring_back


def process_of(words: Sequence[str]) -> int | None:
    """The process whose command line ends with these words, the first one without its folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found = path.read_text().rstrip("\0").split("\0")
            if [Path(found[0]).name, *found[1:]][-len(words) :] == list(words):
                return int(path.parent.name)
    return None


def processes_of_job(job: str) -> list[int]:
    """All processes of a job on this machine: its steps, and those that look after them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_step = f"SLURM_JOB_ID={job}\0" in (path / "environ").read_text(errors="replace") + "\0"
            if is_step or (path / "cmdline").read_text().startswith(f"slurmstepd: [{job}."):
                found.append(int(path.name))
    return found
