"""Who starts jobs. Another scheduler is a file with a class, and a line in `LAUNCHERS`."""

import importlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from dlib.launch.job import Job
from dlib.process.errors import UserError

LAUNCHERS: dict[str, str] = {
    "slurm": "dlib.launch.slurm:Slurm",
    "local": "dlib.launch.local:Local",
}
"""Classes that follow `Launcher`, as `module:class`: none is imported before it is chosen."""

PENDING, RUNNING, COMPLETED, FAILED, GONE = "pending", "running", "completed", "failed", "gone"

LIVE = {
    *(PENDING, RUNNING, "completing", "configuring", "resizing", "signaling", "stage_out", "stopped", "suspended"),
    *("requeued", "requeue_fed", "requeue_hold", "resv_del_hold", "special_exit"),
}
"""Words of jobs that may still do something: those after the first two are SLURM's."""


class NoSchedulerError(UserError):
    """A scheduler is not on this machine: nobody here is ever told where its jobs stand."""


@dataclass(frozen=True)
class JobState:
    """Where a job stands."""

    word: str  # pending, running, completed, failed, cancelled, or another word of the scheduler; gone: it is forgotten
    reason: str = ""  # why it waits, or how it ended
    start: str = ""  # when it is going to start, as the scheduler estimates; or has started
    nodes: str = ""  # where it runs
    tasks: str = ""  # of an array: how many of its tasks stand where, "3 running, 9 pending"

    @property
    def is_over(self) -> bool:
        """Whether it will do nothing more by itself."""
        return self.word not in LIVE


class Launcher(Protocol):
    """What a scheduler can do. It refuses by a `UserError` of one line, a `NoSchedulerError` where it is not there."""

    def script(self, job: Job) -> str:
        """The text that it starts: everything that the job is, for a person to read."""

    def submit(self, job: Job) -> str:
        """Start the script in the job's folder, and return the number by which to ask for it."""

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Where each of some jobs stands, by its number; asked in one go, as a scheduler has others to serve."""

    def cancel(self, number: str) -> None:
        """End a job for good."""

    def requeue(self, number: str) -> None:
        """Have a job start again, under the same number where it can."""


def shown_number(number: str) -> str:
    """A job's number for a person: what a launcher needs besides comes after a colon."""
    return number.partition(":")[0]


def task_number(number: str, index: str | None) -> str:
    """The number by which to ask for a task of an array, `41_3`; without an index that of the job."""
    job, colon, rest = number.partition(":")
    return number if index is None else f"{job}_{index}{colon}{rest}"


def make_launcher(name: str) -> Launcher:
    """The launcher of a name in `LAUNCHERS`.

    Raises:
        UserError: there is no such name.
    """
    if name not in LAUNCHERS:
        raise UserError(f"--launcher {name}: it is one of {', '.join(LAUNCHERS)}")
    module, _, word = LAUNCHERS[name].partition(":")
    launcher: Launcher = getattr(importlib.import_module(module), word)()
    return launcher
