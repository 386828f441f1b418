"""Real signals to the workers of a real loader, in a process group of its own."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
    import os, signal, sys, time
    from types import SimpleNamespace
    from dlib.data.batching import BatchPlan
    from dlib.data.data_module import DataModule, TextData
    from tests.toys import ListRows, toy_row, toy_roles
    from dlib.args import ObjectiveArgs
    from dlib.objectives import build_objective

    rows = ListRows([toy_row(8, seed) for seed in range(64)])
    data = TextData(None, None, rows, rows)
    plan = BatchPlan(64, 1, 1, 1_000_000, 1)
    mlm = build_objective(ObjectiveArgs(), toy_roles())
    module = DataModule(data, plan, mlm, first_step=0, eval_batch_size=1, num_workers=2)
    module.trainer = SimpleNamespace(global_rank=0, world_size=1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: print("signal", number, flush=True))
    steps = iter(module.train_dataloader())
    for _ in range(4):
        next(steps)
    print("workers", *(worker.pid for worker in steps._workers), flush=True)
    for line in sys.stdin:
        if line == "fail\\n":
            raise SystemExit("failed")
        if line == "leave\\n":
            break
        for _ in range(40):
            next(steps)
        print("went on", flush=True)
"""


@contextmanager
def loading() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that reads from two workers, in a group of its own, and the workers' ids."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:1] == ["workers"], process.stderr and process.stderr.read()
        yield process, [int(word) for word in words[1:]]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


def ask(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process lives; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_survive_signals_to_the_group_and_end_with_their_loader() -> None:
    with loading() as (process, workers):
        assert process.stdout is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.killpg(process.pid, number)
            assert process.stdout.readline() == f"signal {number.value}\n"
            time.sleep(0.2)
            assert all(map(is_running, workers))
            ask(process, "on")
            assert process.stdout.readline() == "went on\n"
        ask(process, "leave")
        assert process.wait(timeout=20) == 0
        wait_until(lambda: not any(map(is_running, workers)))


def test_process_that_fails_takes_its_workers_along_at_once() -> None:
    with loading() as (process, workers):
        ask(process, "fail")
        started = time.monotonic()
        assert process.wait(timeout=30) == 1
        assert time.monotonic() - started < 10
        wait_until(lambda: not any(map(is_running, workers)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_end_when_their_process_is_killed() -> None:
    with loading() as (process, workers):
        process.kill()
        process.wait(timeout=10)
        wait_until(lambda: not any(map(is_running, workers)))
