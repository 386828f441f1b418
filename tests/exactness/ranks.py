"""Several real processes at once: a run of `train.py` as torchrun or srun would start it, and functions on gloo ranks.

Every process is forked from the server that `tests/launching.py` keeps warm, so that a rank costs a second and not the
six of its imports. Nobody waits for ever, and nothing outlives its `with` block.
"""

import multiprocessing
import os
import pickle
import signal
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests import launching
from tests.launching import PRELOADED, QUIET, THREADS, Result, Training, output_files, recorded_steps, run_here

TIMEOUT_SECONDS = 90
GRACE_SECONDS = 10
"""How long ranks may outlive one that ended in an error, before they are killed as a launcher would."""
EXPECTED_STATUSES = (None, 0, 75)


class Ranks:
    """The processes of one run, rank 0 first. Leaving the `with` block kills what is left."""

    def __init__(self, processes: Sequence[BaseProcess], outputs: Sequence[tuple[Path, Path]]) -> None:
        """Take processes that run already, and the files that they print to."""
        self.processes = processes
        self.trainings = [Training(pid_of(p), waiting_for(p), o) for p, o in zip(processes, outputs, strict=True)]

    @property
    def first(self) -> Training:
        """Rank 0, the one that speaks, writes and is sent signals."""
        return self.trainings[0]

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        kill_all(self.processes)

    @property
    def stderr(self) -> str:
        """What they all printed on stderr so far."""
        return "\n".join(training.stderr for training in self.trainings)

    @property
    def failed(self) -> bool:
        """Whether one of them ended in an error."""
        return any(process.exitcode not in EXPECTED_STATUSES for process in self.processes)

    def stop_after_steps(self, folder: RunFolder, count: int) -> list[Result]:
        """Sends SIGTERM to the first once this session has recorded `count` optimizer steps, and waits for the end."""
        begun = recorded_steps(folder)

        def reached() -> bool:
            assert not self.failed, self.stderr
            return recorded_steps(folder) >= begun + count

        self.first.wait_for(reached)
        self.first.signal(signal.SIGTERM)
        return self.results()

    def results(self) -> list[Result]:
        """Waits for the end of all; after an error of one, the others are killed."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while any(process.exitcode is None for process in self.processes) and time.monotonic() < deadline:
            if self.failed:
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
            time.sleep(0.01)
        hung = [rank for rank, process in enumerate(self.processes) if process.exitcode is None]
        assert self.failed or not hung, f"ranks {hung} do not end: {self.stderr}"
        kill_all(self.processes)
        return [training.result() for training in self.trainings]


def start_ranks(
    arguments: Sequence[str],
    world_size: int,
    scratch: Path,
    *,
    seconds_before: Sequence[float] = (),
    output: Path | None = None,
    program: str = "train.py",
    networks: Mapping[str, str] = MappingProxyType({}),
) -> Ranks:
    """Starts `train.py` in `world_size` processes, each with its launcher's variables.

    Args:
        arguments: the words after `train.py`, the same for each.
        world_size: number of processes, all on this machine.
        scratch: folder of their output files.
        seconds_before: how late each rank comes; together, when empty.
        output: a named pipe that they all print to, in place of files of their own.
        program: what is run in place of `train.py`.
        networks: are added to MODELS.
    """
    devices = [*arguments, "--num_devices", str(world_size)]
    outputs = [output_files(scratch) if output is None else (output, output) for _ in range(world_size)]
    for _, stderr in outputs:
        stderr.touch()
    port = free_port()
    late = seconds_before or (0.0,) * world_size
    processes = [
        fork(
            run_rank_here, devices, outputs[rank], variables(rank, world_size, port), late[rank], program, {**networks}
        )
        for rank in range(world_size)
    ]
    return Ranks(processes, outputs)


def train_ranks(arguments: Sequence[str], world_size: int, scratch: Path) -> list[Result]:
    """Runs `train.py` in `world_size` processes to its end."""
    with start_ranks(arguments, world_size, scratch) as ranks:
        return ranks.results()


def assert_equal_within_float_tolerance(folder: RunFolder, other: RunFolder) -> None:
    """Two runs, on whatever numbers of processes, have the same records, equal to 1e-5."""
    records, others = read_metrics(folder.metrics), read_metrics(other.metrics)
    assert [record.keys() for record in records] == [record.keys() for record in others]
    for one, two in zip(records, others, strict=True):
        assert one == pytest.approx(two, rel=1e-5), f"step {one['step']}"


def run_rank_here(
    arguments: list[str],
    outputs: tuple[Path, Path],
    launcher: dict[str, str],
    seconds_before: float,
    program: str,
    networks: dict[str, str],
) -> None:
    """Makes this process, forked for it, a rank of a run."""
    time.sleep(seconds_before)
    wanted = launching.environment() | launcher
    with patch.object(launching, "environment", lambda: wanted):
        run_here(arguments, *outputs, None, program, networks)


def run_on_ranks(function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
    """Calls `function(rank, world_size, *arguments)` in as many processes of one gloo group.

    Args:
        function: of a module, so that it can be found by name.
        world_size: number of processes.
        arguments: what can be pickled.

    Returns:
        What each rank returned, rank 0 first; it has to be picklable, tensors included.
    """
    context = multiprocessing.get_context("forkserver")
    queue: SimpleQueue[tuple[int, bytes, str | None]] = context.SimpleQueue()
    port = free_port()
    processes = [
        fork(call_as_rank, function, queue, variables(rank, world_size, port), arguments) for rank in range(world_size)
    ]
    try:
        results = dict(take(queue, processes) for _ in range(world_size))
    finally:
        kill_all(processes)
    return [results[rank] for rank in range(world_size)]


def take(queue: "SimpleQueue[tuple[int, bytes, str | None]]", processes: Sequence[BaseProcess]) -> tuple[int, Any]:
    """The next rank that is done, and what it returned."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while queue.empty():
        assert time.monotonic() < deadline, "the ranks do not end"
        assert not any(process.exitcode for process in processes), "a rank died"
        time.sleep(0.005)
    rank, result, error = queue.get()
    assert error is None, f"rank {rank}: {error}"
    return rank, pickle.loads(result)


def call_as_rank(
    function: Callable[..., Any], queue: "SimpleQueue[Any]", launcher: dict[str, str], arguments: tuple[Any, ...]
) -> None:
    """Makes this process, forked for it, a rank that computes a result."""
    os.environ.update(launcher)
    torch.set_num_threads(1)
    rank, world_size = int(launcher["RANK"]), int(launcher["WORLD_SIZE"])
    try:
        dist.init_process_group("gloo", rank=rank, world_size=world_size)
        # Pickled here: torch would hand tensors over through this process, which may be gone by then.
        queue.put((rank, pickle.dumps(function(rank, world_size, *arguments)), None))
        dist.destroy_process_group()
    except BaseException:
        queue.put((rank, b"", traceback.format_exc()))


def fork(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Starts a process that has the libraries imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=target, args=arguments)
    with patch.dict(os.environ, {**THREADS, **QUIET}):  # read by the libraries when the server imports them
        process.start()
    return process


def variables(rank: int, world_size: int, port: int) -> dict[str, str]:
    """What torchrun would tell a process about its place."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
    return {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def kill_all(processes: Sequence[BaseProcess]) -> None:
    """Ends those that still run."""
    for process in processes:
        if process.exitcode is None:
            process.kill()
    for process in processes:
        process.join(TIMEOUT_SECONDS)


def pid_of(process: BaseProcess) -> int:
    """The id of a started process."""
    assert process.pid is not None
    return process.pid


def waiting_for(process: BaseProcess) -> Callable[[float], int | None]:
    """What waits some seconds for the process, and returns its exit status, None while it runs."""

    def wait(seconds: float) -> int | None:
        process.join(seconds)
        return process.exitcode

    return wait
