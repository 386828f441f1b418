"""On how many machines, and with how many processes on each, a launcher has started the run.

srun and torchrun have been told both already: what they say in the environment need not be said again by flags, and
flags that say something else are refused. It stands apart from `ranks.py`, which knows of one process only.
"""

import os
import re

from dlib.process.errors import UserError
from dlib.process.ranks import from_environment, in_slurm_step, is_told_place, was_launched, world_size

LIKE_TASKS = re.compile(r"(\d+)(?:\(x\d+\))?")
"""What SLURM says of as many tasks on each node: `4`, or `4(x2)`; `4,3` are not as many."""
SHELL_STEPS = 0xFFFFFFF0
"""From here on the numbers of steps are those of job scripts and interactive shells."""


def count_nodes(wanted: int) -> int:
    """Number of machines of the run; `wanted` is that of `--num_nodes`, -1: those on which processes were started.

    Raises:
        UserError: a launcher has started processes on another number of them.
    """
    started = launched_nodes()
    if started is None:
        return max(wanted, 1)
    if wanted not in (-1, started):
        raise UserError(
            f"--num_nodes {wanted}: the processes of this run were started on {started}: leave the flag out, or give "
            f"srun --nodes {wanted}, torchrun --nnodes {wanted}"
        )
    return started


def launched_nodes() -> int | None:
    """On how many machines a launcher has started the processes; None without a launcher, or one that does not say."""
    if not was_launched():
        return None
    if not is_told_place():
        return from_environment("SLURM_STEP_NUM_NODES", 0) or None
    local = from_environment("LOCAL_WORLD_SIZE", 0)
    return None if local < 1 else max(1, world_size() // local)


def processes_per_node() -> int | None:
    """How many processes a launcher has started on each machine; None where it does not say, or not as many on each.

    One task of srun a node may start the others of its node itself.
    """
    if is_told_place():
        return from_environment("LOCAL_WORLD_SIZE", 0) or None
    tasks = LIKE_TASKS.fullmatch(os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return int(tasks[1]) if tasks and in_slurm_step() else None


def starts_rest_of_node() -> bool:
    """Whether srun has started one task on each of several nodes, which starts the others of its node itself."""
    return not is_told_place() and in_slurm_step() and processes_per_node() == 1


def refuse_idle_nodes(wanted: int) -> None:
    """Refuse one process where srun was to start those of all nodes of a SLURM job, unless one node is asked for.

    Raises:
        UserError: the job has several nodes, and this is its script, or a shell on its first.
    """
    nodes = from_environment("SLURM_JOB_NUM_NODES", 1)
    in_script = from_environment("SLURM_STEP_ID", SHELL_STEPS) >= SHELL_STEPS
    if was_launched() or "NODE_RANK" in os.environ or not in_script or nodes == 1 or wanted == 1:
        return
    raise UserError(
        f"this SLURM job has {nodes} nodes, and nobody has started the processes of the others: launch with srun, as "
        "in `srun python train.py ...`, or give --num_nodes 1 to compute on this node alone"
    )
