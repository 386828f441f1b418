"""What a process and those that it started hold, read from outside through Linux's /proc; and whether it grows."""

import os
import re
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.launching import ROOT, environment

Item = TypeVar("Item")
MEBIBYTE = 2**20
MOST_GROWTH = 0.01
"""Flat: the line of least squares through the second half rises by no more than this share of its mean."""


def process_tree(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they still live."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            children += map(int, task.read_text().split())
    return [pid, *(descendant for child in children for descendant in process_tree(child))]


def resident_bytes(pid: int) -> int:
    """Memory of a process that is present, shared pages included; 0 once it has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def own_bytes(pid: int) -> int:
    """Memory of a process and its descendants that no file holds, of pages shared with others their part alone.

    Pages of files are left out: the system takes them back when others need the room. A process that is about to start
    another program (vfork) shows the memory of its parent, which is counted once.
    """
    rollups = set(map(_rollup, process_tree(pid)))
    sizes = re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB", "\n".join(rollups), re.MULTILINE)
    return 1024 * sum(map(int, sizes))


def _rollup(pid: int) -> str:
    """What the system tells of a process's memory, its place among it; nothing once it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/smaps_rollup").read_text()
    return ""


def open_files(pid: int) -> int:
    """Number of a process's file descriptors."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def threads(pid: int) -> int:
    """Number of a process's threads."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/task"))
    return 0


def held(pid: int) -> dict[str, float]:
    """What a process and its descendants hold at this moment."""
    tree = process_tree(pid)
    return {
        "memory of the first process, MiB": resident_bytes(pid) / MEBIBYTE,
        "memory of the others, MiB": sum(map(resident_bytes, tree[1:])) / MEBIBYTE,
        "open files": sum(map(open_files, tree)),
        "threads": sum(map(threads, tree)),
        "processes": len(tree),
    }


def disk_bytes(paths: Sequence[Path]) -> int:
    """Bytes of files and of folders with all that is in them; what goes meanwhile is not counted."""
    total = 0
    for file in (file for path in paths for file in _files(path)):
        with suppress(OSError):
            total += file.lstat().st_size
    return total


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        yield from (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    else:
        yield path


def second_half(values: Sequence[Item]) -> Sequence[Item]:
    """The values after the middle, by when all that is begun only once has begun."""
    return values[len(values) // 2 :]


def growth(places: Sequence[float], values: Sequence[float]) -> float:
    """By what share of their mean the values rise from the first place to the last, along the line of least squares."""
    mean = statistics.fmean(values)
    if len(set(places)) < 2 or mean == 0:
        return 0.0
    return statistics.linear_regression(places, values).slope * (places[-1] - places[0]) / mean


@dataclass(frozen=True)
class Observed:
    """A process that has ended, as it was seen from outside.

    Attributes:
        status: its exit status.
        stdout: what it printed.
        stderr: what it printed there.
        seconds: how long it took.
        peak_bytes: the most memory that it and its descendants had at the same time, as `own_bytes` counts.
        processor_seconds: what it and those that it waited for have computed.
    """

    status: int
    stdout: str
    stderr: str
    seconds: float
    peak_bytes: int
    processor_seconds: float


def observe(
    words: Sequence[str], seconds_between_looks: float = 0.05, until: Callable[[], bool] = lambda: False
) -> Observed:
    """Runs Python with these words to its end, or kills it when something is so; looks at its memory meanwhile."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        began, computed, peak = time.perf_counter(), children_seconds(), 0
        command = [sys.executable, *words]
        with (
            subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            ) as process,
            open(os.pidfd_open(process.pid), "rb") as end,
        ):
            while process.poll() is None and not until():
                peak = max(peak, own_bytes(process.pid))
                select.select([end], [], [], seconds_between_looks)
            seconds = time.perf_counter() - began
            for pid in process_tree(process.pid) if process.returncode is None else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for file in (stdout, stderr):
            file.seek(0)
        told = stdout.read().decode(), stderr.read().decode()
        return Observed(process.returncode, *told, seconds, peak, children_seconds() - computed)


def children_seconds() -> float:
    """Time on the processor of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
