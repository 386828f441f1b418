"""Where the tasks of a SLURM step meet: on its first node, at a port of its own, found by all of them alike."""

import os
import re
import subprocess

from dlib.process.connections import leads_somewhere
from dlib.process.ranks import from_environment, global_rank

FIRST_PORT, NUM_PORTS, STEPS_OF_A_JOB = 10_000, 20_000, 64
"""Ports of SLURM steps, below those that the system deals out; so many are between two neighbouring jobs."""
SCONTROL_SECONDS = 10.0


def first_node_of_step() -> str:
    """Where the first task of this SLURM step runs: its name, or its address where the name leads nowhere."""
    if from_environment("SLURM_STEP_NUM_NODES", 1) == 1:
        return "127.0.0.1"  # a node need not know its own name
    # "n[01-03,7]-ib,m4" stands for n01-ib and further ones.
    name = re.sub(r"\[([^],-]*)[^]]*\]", r"\1", os.environ["SLURM_STEP_NODELIST"]).partition(",")[0]
    if global_rank() == 0 or leads_somewhere(name):
        return name
    # In a container there is no scontrol; srun was mostly called on the first node, by a job script.
    return address_of_node(name) or os.environ.get("SLURM_LAUNCH_NODE_IPADDR", name)


def address_of_node(name: str) -> str | None:
    """Where SLURM itself reaches a node; None where it does not say, or by another name that leads nowhere."""
    try:
        command = ["scontrol", "--oneliner", "show", "node", name]
        told = subprocess.run(command, capture_output=True, text=True, timeout=SCONTROL_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    address = re.search(r"\bNodeAddr=(\S+)", told)
    return address[1] if address and leads_somewhere(address[1]) else None


def port_of_step() -> int:
    """A port that all tasks of this SLURM step know, and that its neighbours on a node do not use."""
    job, step = from_environment("SLURM_JOB_ID", 0), from_environment("SLURM_STEP_ID", 0)
    return FIRST_PORT + (job * STEPS_OF_A_JOB + step) % NUM_PORTS
