"""Which of the run's processes this one is, by the environment, before any process group exists. Imports no torch.

torchrun gives its children RANK, LOCAL_RANK and WORLD_SIZE, and so does `dlib/process/launching.py`; Lightning's
launcher gives NODE_RANK in place of RANK; srun gives SLURM_PROCID and the like. A job script that runs `python` without
srun carries SLURM's variables too: they count only in a step of several tasks.
"""

import functools
import logging
import os
import sys
import threading
import time

from dlib.process.errors import UserError, printable


def global_rank() -> int:
    """This process's number among all processes of the run, 0 for the first.

    On further machines started by hand with NODE_RANK alone it is not 0, but not yet the final number.
    """
    if "RANK" in os.environ:
        return from_environment("RANK", 0)
    if is_told_place():
        return from_environment("NODE_RANK", 0) * from_environment("LOCAL_WORLD_SIZE", 1) + local_rank()
    return from_environment("SLURM_PROCID", 0)


def local_rank() -> int:
    """This process's number on its node, 0 for the first."""
    if is_told_place():
        return from_environment("LOCAL_RANK", 0)
    return from_environment("SLURM_LOCALID", 0)


def world_size() -> int:
    """Number of processes of the run; 1 until others are launched."""
    if "WORLD_SIZE" in os.environ or not in_slurm_step():
        return from_environment("WORLD_SIZE", 1)
    return from_environment("SLURM_STEP_NUM_TASKS", 1)


def is_rank_zero() -> bool:
    """Whether this is the first process of the run, the one that speaks and writes."""
    return global_rank() == 0


def in_slurm_step() -> bool:
    """Whether srun started this process as one of several tasks."""
    # A job that was submitted from within a step inherits its variables; then they differ from the job's own.
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE")
    is_own = tasks == os.environ.get("SLURM_TASKS_PER_NODE", tasks)
    return is_own and "SLURM_PROCID" in os.environ and from_environment("SLURM_STEP_NUM_TASKS", 1) > 1


def is_told_place() -> bool:
    """Whether torchrun's variables say where this process stands, and not those of a SLURM step."""
    return "LOCAL_RANK" in os.environ or not in_slurm_step()


def was_launched() -> bool:
    """Whether a launcher has started this process, so that it must start no others."""
    return "LOCAL_RANK" in os.environ or world_size() > 1


def from_environment(name: str, default: int) -> int:
    """The environment variable as an integer; refuses any other text."""
    try:
        return int(os.environ.get(name, default))
    except ValueError as error:
        raise UserError(f"{name}={os.environ[name]} in the environment is no whole number: unset it") from error


def end_with_launcher() -> None:
    """End this process soon after its launcher, if one started it.

    A launcher killed by SIGKILL takes nobody with it, and its processes would wait half an hour for the first one. The
    first process of a node may have been started by hand, from a shell that ends: it stays.
    """
    if local_rank() > 0:
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)


def say(message: str) -> None:
    """Tells the user something, once for the whole run, on stderr: stdout is for results."""
    logger().info(message)


@functools.cache
def logger() -> logging.Logger:
    """The logger for messages to the user; it is silent in every process but the first."""
    messages = logging.getLogger("dlib")
    messages.setLevel(logging.INFO)
    messages.propagate = False
    messages.addHandler(RankZeroHandler())
    return messages


class RankZeroHandler(logging.Handler):
    """Prints messages on whatever stderr is now, and warnings as `warning: ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, with control characters written out."""
        return printable(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one message in the first process of the run."""
        if is_rank_zero():
            prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
            print(prefix + self.format(record), file=sys.stderr, flush=True)
