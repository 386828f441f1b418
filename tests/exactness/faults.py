"""Faults: a process that kills itself at a chosen operation of its run, so that a test can aim.

It stands apart because the product must not know of it: `install` replaces functions in the process that is about to
run `train.py`, and nothing else. SIGKILL leaves no time for anything, as a scheduler's end or a machine's does.
"""

import io
import json
import os
import pathlib
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from dlib.process.messages import quiet_libraries
from dlib.process.threads import let_threads_sleep
from dlib.runs.folder import RunFolder

DURABLE = ("fsync", "rename", "replace", "symlink")
"""What brings a name or its content to the disk, in `os`: all that a reader may rely on comes by one of these."""

OTHER = ("mkdir", "unlink", "rmdir")
OF_TWO_PATHS = ("rename", "replace", "symlink")
LANDED = "fault: "
LISTED = "operation: "


@dataclass(frozen=True)
class Fault:
    """Where a process kills itself.

    Attributes:
        aim: "before fsync" and "after fsync", likewise with each of `DURABLE` and `OTHER`; "before durable" and "after
            durable", any of `DURABLE`; "inside metrics" and so on for each of `INSIDE`. "list durable" kills nothing
            and prints the operations.
        count: which of them, from 1.
        under: folder whose operations count.
        since: those before the first whose path contains this do not count.
        alone: kill this process, and not the others of its group.
    """

    aim: str
    count: int = 1
    under: str = ""
    since: str = ""
    alone: bool = False

    def as_word(self) -> str:
        """The fault as one word of a command line."""
        return json.dumps(asdict(self))


class Trap:
    """Counts what is aimed at, and kills the process when the count is reached."""

    def __init__(self, fault: Fault) -> None:
        """Begin to count."""
        self.fault = fault
        self.moment, _, self.target = fault.aim.partition(" ")
        self._armed = False
        self._seen = 0

    def counts(self, path: str) -> bool:
        """Whether the operation that is about to be done on `path` is the one."""
        if not path.startswith(self.fault.under):
            return False
        self._armed = self._armed or self.fault.since in path
        self._seen += self._armed
        return self._armed and self._seen == self.fault.count

    def kill(self, where: str) -> None:
        """End, after telling where."""
        os.write(sys.stderr.fileno(), f"{LANDED}{self.moment} {where}\n".encode())
        if self.fault.alone:
            os.kill(os.getpid(), signal.SIGKILL)
        os.killpg(os.getpgid(0), signal.SIGKILL)


def die_at(fault: Fault) -> None:
    """Prepare this process to kill itself; to be called before `train.py` is run in it.

    Raises:
        ValueError: the aim is unknown.
    """
    trap = Trap(fault)
    if trap.moment == "inside" and trap.target in INSIDE:
        INSIDE[trap.target](trap)
        return
    operations = DURABLE if trap.target == "durable" else (trap.target,)
    if trap.moment not in ("before", "after", "list") or not set(operations) <= {*DURABLE, *OTHER}:
        raise ValueError(f"no fault can be aimed at {fault.aim!r}")
    for operation in operations:
        watch(operation, trap)


def watch(operation: str, trap: Trap) -> None:
    """Replace a function of `os` by one that dies before or after the call that is aimed at."""
    original = getattr(os, operation)

    @wraps(original)
    def watched(*arguments: Any, **options: Any) -> Any:
        path = path_of(arguments[operation in OF_TWO_PATHS], options.get("dir_fd"))
        if trap.moment == "list":
            print(f"{LISTED}{operation} {path}", file=sys.stderr, flush=True)
            return original(*arguments, **options)
        aimed = trap.counts(path)
        if aimed and trap.moment == "before":
            trap.kill(f"{operation} {path}")
        result = original(*arguments, **options)
        if aimed:
            trap.kill(f"{operation} {path}")
        return result

    setattr(os, operation, watched)
    accessor = getattr(pathlib, "_normal_accessor", None)  # where pathlib of Python 3.10 keeps functions of its own
    if accessor is not None:
        setattr(accessor, operation, watched)


def path_of(file: Any, folder_descriptor: int | None) -> str:
    """The path of a file given by path or descriptor; "" for a descriptor where the system does not tell."""
    if isinstance(file, int):
        link = f"/proc/self/fd/{file}"
        return os.readlink(link) if os.path.lexists(link) else ""
    parent = "" if folder_descriptor is None else path_of(folder_descriptor, None)
    return os.path.abspath(os.path.join(parent, os.fspath(file)))


class TornFile(io.FileIO):
    """An open file that takes half of the write that is aimed at, and then kills the process."""

    trap: Trap

    def write(self, data: Any, /) -> int:
        """Write all, or half."""
        if not self.trap.counts(os.path.abspath(self.name)):
            return super().write(data)
        super().write(data[: len(data) // 2])
        self.trap.kill(f"metrics {self.name}")
        return 0


def tear_record(trap: Trap) -> None:
    """Die in the middle of a record of metrics.jsonl."""
    original = Path.open

    def opened(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if (path.name, mode) != ("metrics.jsonl", "ab"):
            return original(path, mode, *arguments, **options)
        file = TornFile(path, mode)
        file.trap = trap
        return file

    Path.open = opened  # type: ignore[method-assign, assignment]


def halve(name: str) -> Callable[[Trap], None]:
    """Die when half of a checkpoint's file is written, and nothing of what comes after it."""

    def prepare(trap: Trap) -> None:
        original = RunFolder.publish_checkpoint

        def publish(folder: RunFolder, step: int, write: Callable[[Path], None], needed_bytes: int) -> Path:
            def write_half(temporary: Path) -> None:
                write(temporary)
                if trap.counts(os.path.abspath(temporary)):
                    cut_in_half(next(temporary.rglob(name)), temporary)
                    trap.kill(f"the write of {temporary / name}")

            return original(folder, step, write_half, needed_bytes)

        RunFolder.publish_checkpoint = publish  # type: ignore[method-assign, assignment]

    return prepare


def cut_in_half(file: Path, folder: Path) -> None:
    """Leave half of a file, and remove what was written into the folder after it."""
    for other in [path for path in folder.rglob("*") if path.is_file()]:
        if other.stat().st_mtime_ns > file.stat().st_mtime_ns:
            other.unlink()
    os.truncate(file, file.stat().st_size // 2)


def stop_evaluation(trap: Trap) -> None:
    """Die after a batch of an evaluation, whatever the objective."""
    quiet_libraries()
    let_threads_sleep()  # as `train.py` does before it imports these
    from dlib.objectives.objective import Evaluated, Objective

    original = Objective.__init__

    def initialize(objective: Any, *arguments: Any, **options: Any) -> None:
        original(objective, *arguments, **options)
        evaluate = objective.evaluate

        def evaluate_and_die(*batch: Any) -> Evaluated:
            result: Evaluated = evaluate(*batch)
            if trap.counts(trap.fault.under):
                trap.kill("an evaluation")
            return result

        objective.evaluate = evaluate_and_die

    Objective.__init__ = initialize  # type: ignore[method-assign, assignment]


INSIDE: dict[str, Callable[[Trap], None]] = {
    "metrics": tear_record,
    "weights": halve("model.safetensors"),
    "state": halve("state.ckpt"),
    "evaluation": stop_evaluation,
}
