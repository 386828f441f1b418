"""Real workers of a real loader: signals to their process group, few open files, and what becomes of their errors."""

import errno
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import Dataset

from dlib.args import ObjectiveArgs, OptimArgs
from dlib.data.batching import BatchPlan
from dlib.data.data_module import DataModule
from dlib.data.loader_workers import StepLoader
from dlib.data.steps import TrainingSteps
from dlib.data.text_data import TextData
from dlib.objectives import build_objective
from dlib.process.errors import UserError
from dlib.training.devices import Devices
from dlib.training.trainer import build_trainer, fit
from dlib.training.training_module import TrainingModule
from tests.exactness.steps import ROWS as STEP_ROWS
from tests.exactness.steps import Watching, make_plan
from tests.toys import ListRows, build_toy, toy_roles, toy_row

ROWS = ListRows([toy_row(8, seed) for seed in range(64)])
MLM = build_objective(ObjectiveArgs(), toy_roles())
ROOT = Path(__file__).parents[2]
PROGRAM = """
    import multiprocessing, os, signal, sys, time
    from types import SimpleNamespace
    from dlib.data.batching import BatchPlan
    from dlib.data.data_module import DataModule
    from dlib.data.text_data import TextData
    from tests.toys import ListRows, toy_row, toy_roles
    from dlib.args import ObjectiveArgs
    from dlib.objectives import build_objective

    rows = ListRows([toy_row(8, seed) for seed in range(64)])
    data = TextData(None, None, rows, rows)
    plan = BatchPlan(64, 1, 1, 1_000_000, 1)
    mlm = build_objective(ObjectiveArgs(), toy_roles())
    module = DataModule(data, plan, mlm, first_step=0, eval_batch_size=1, num_workers=2)
    module.trainer = SimpleNamespace(global_rank=0, world_size=1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, lambda number, frame: print("signal", number, flush=True))
    steps = iter(module.train_dataloader())
    for _ in range(4):
        next(steps)
    print("workers", *(worker.pid for worker in multiprocessing.active_children()), flush=True)
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
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT):
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


@pytest.fixture
def few_open_files() -> Iterator[None]:
    """Forty more files than are open now may be open; and nobody waits for ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))) + 40, hard))
    signal.alarm(60)
    yield
    signal.alarm(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_open_files")
def test_a_step_of_thousands_of_micro_batches_needs_few_open_files() -> None:
    steps = TrainingSteps(ROWS, BatchPlan(len(ROWS), 4096, 1, 4096, seed=1), MLM, 0, 1)
    loaded = list(StepLoader(steps, sampler=range(1), num_workers=1))
    assert [len(step["micro_batches"]) for step in loaded] == [4096]
    expected = steps[0]["micro_batches"][-1]["batch"]
    found = loaded[0]["micro_batches"][-1]["batch"]
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) and found[name].dtype == expected[name].dtype for name in found)


class Failing(Dataset[dict[str, Any]]):
    """Steps of which the second cannot be prepared."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, step: int) -> dict[str, Any]:
        if step == 1:
            raise self.error
        return {"step": step}


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("error", [UserError("--data_dir: it has gone"), OSError(errno.EIO, "read", "tokens.bin")])
def test_an_error_in_a_worker_is_the_same_as_without_workers(error: Exception, num_workers: int) -> None:
    steps = iter(StepLoader(Failing(error), sampler=range(2), num_workers=num_workers))
    assert next(steps) == {"step": 0}
    with pytest.raises(type(error)) as raised:
        next(steps)
    assert str(raised.value) == str(error)


def test_a_worker_that_is_killed_ends_the_training_in_one_line() -> None:
    def kill_worker(module: TrainingModule) -> None:
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)

    module = TrainingModule(build_toy("bert"), MLM, OptimArgs(), make_plan(2), "32-true")
    trainer = build_trainer(Devices("cpu", (0,), 1, "32-true", ("CPU process",)), "auto", [Watching(kill_worker)])
    data = DataModule(
        TextData(None, None, STEP_ROWS, STEP_ROWS),  # type: ignore[arg-type]
        make_plan(2).batches,
        MLM,
        first_step=0,
        eval_batch_size=1,
        num_workers=1,
    )
    with pytest.raises(UserError, match=r"--num_workers: a loader process (killed by signal: Killed|exited).*memory"):
        fit(trainer, module, data)
