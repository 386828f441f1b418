"""A queue that takes no more, or is closed: what a user of a real SLURM is told, in one line."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dlib.launch import slurm
from dlib.launch.clusters import Cluster
from dlib.launch.job import Job
from dlib.launch.slurm import Slurm
from dlib.process.errors import UserError
from tests.slurm.cluster import ask, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(os.geteuid() != 0, reason="needs to change a cluster")]
CONTROLLER = """
ClusterName=full
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/pid
SlurmctldLogFile={folder}/log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MaxJobCount=2
NodeName=none NodeAddr=127.0.0.1
PartitionName=only Nodes=none Default=YES
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that does nothing."""
    (tmp_path / "job.sh").write_text("#!/bin/bash\ntrue\n")
    return Job(("train.py",), tmp_path, Cluster(), "big")


@pytest.fixture
def full_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A controller of our own, without nodes, which is asked in place of the cluster's; its queue is full."""
    program = shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("needs the controller of SLURM")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = tmp_path / "slurm.conf"
    (tmp_path / "state").mkdir()
    file.write_text(CONTROLLER.format(host=socket.gethostname().partition(".")[0], port=port, folder=tmp_path))
    monkeypatch.setenv("SLURM_CONF", str(file))
    words = [program, "-D", "-c", "-f", str(file)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as controller:
        try:
            wait_until(lambda: answers("scontrol", "ping"), "a controller", seconds=20)
            assert answers("sbatch", "--hold", "--output", os.devnull, "--wrap", "true")
            yield
        finally:
            controller.terminate()


def answers(*words: str) -> bool:
    """Whether a command of SLURM succeeds."""
    return subprocess.run(["timeout", "10", *words], capture_output=True).returncode == 0


@pytest.mark.usefixtures("full_queue")
def test_a_full_queue_is_told_in_a_line(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "PATIENCE_SECONDS", 2)
    with pytest.raises(UserError) as caught:
        Slurm().submit(job)
    told = "the queue is full; submit again later (SLURM: Slurm temporarily unable to accept job, sleeping and retrying"
    assert str(caught.value).startswith(told)


@pytest.fixture
def closed_partition() -> Iterator[str]:
    """A partition that takes no jobs."""
    name = f"closed{os.getpid()}"
    ask("scontrol", "create", f"PartitionName={name}", "Nodes=ALL", "State=DRAIN")
    yield name
    ask("scontrol", "delete", f"PartitionName={name}")


@pytest.mark.parametrize("state", ["DRAIN", "INACTIVE"])
def test_a_closed_partition_is_told_in_a_line(job: Job, closed_partition: str, state: str) -> None:
    ask("scontrol", "update", f"PartitionName={closed_partition}", f"State={state}")
    job.script.write_text(f"#!/bin/bash\n#SBATCH --partition={closed_partition}\n")
    with pytest.raises(UserError, match=r"^--partition: it takes no jobs now; `sinfo` shows its state"):
        Slurm().submit(job)
