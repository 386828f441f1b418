"""Trainings in processes of their own, this project's and those of peers, and what was measured, side by side."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import TIMEOUT_MAX, Timer
from types import MappingProxyType
from typing import Any

from benchmarks.machine import machine
from benchmarks.trainer_parts.workload import Workload
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics

ROOT = Path(__file__).parents[2]
OURS = "train.py"
NEEDED = {
    "trainer": (("accelerate", "datasets"), "-e '.[benchmark]'"),
    "plain_liger": (("liger_kernel",), "liger-kernel"),
}
"""Packages of a peer that this project does not need itself, and what pip is told, by the beginning of its name."""
SPEED, LOSS, GPU_MEMORY = "performance/tokens_per_second", "train/loss", "performance/memory_mib"
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Result:
    """What one training was.

    Attributes:
        tokens_per_second: after the first steps.
        memory_mib: the most that was resident in its process, or allocated on its GPU.
        losses: nats, by optimizer step; those that were logged.
    """

    tokens_per_second: float
    memory_mib: float
    losses: dict[int, float]

    @property
    def final_loss(self) -> float:
        """Mean of the losses logged in the second half."""
        steps = list(self.losses)
        return statistics.fmean(loss for step, loss in self.losses.items() if step > steps[-1] / 2)


def run(
    words: Sequence[str],
    workload: Workload,
    variables: Mapping[str, str] = MappingProxyType({}),
    most_seconds: float = TIMEOUT_MAX,
) -> tuple[str, float]:
    """Run Python with these words and the workload on stdin; what it prints, and its peak memory in MiB.

    Raises:
        RuntimeError: it fails, or is killed after `most_seconds`.
    """
    with ExitStack() as files:
        stdin, stdout, stderr = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        json.dump(asdict(workload), stdin)
        stdin.seek(0)
        command, place = [sys.executable, *words], {**os.environ, **variables}
        process = subprocess.Popen(command, cwd=ROOT, env=place, stdin=stdin, stdout=stdout, stderr=stderr)
        end = Timer(most_seconds, process.kill)
        end.daemon = True  # an interrupt ends the program, and does not wait for it
        end.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        end.cancel()
        for file in (stdout, stderr):
            file.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{stderr.read()}")
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return stdout.read(), usage.ru_maxrss * unit / MEBIBYTE


def measure_peer(name: str, workload: Workload, **options: Any) -> Result:
    """Train with a peer; `options` are those of `run`."""
    printed, resident = run(["-m", "benchmarks.trainer_parts.peers", name], workload, **options)
    measured = json.loads(printed.splitlines()[-1])
    losses = {int(step): loss for step, loss in measured["losses"].items()}
    memory = measured["gpu_memory_mib"] or resident
    return Result(workload.tokens_per_step / measured["seconds_per_step"], memory, losses)


def train_words(workload: Workload, runs: Path, flags: Sequence[str]) -> list[str]:
    """The words after train.py: the workload at the default flags, and further flags, which may size a step."""
    words: dict[str, Any] = {
        "-n": "ours",
        "-d": workload.data,
        "--out_dir": runs,
        "--cache_dir": Path(workload.folder, "cache"),
        "--model": workload.model,
        "--objective": workload.objective,
        "-b": workload.rows,
        "--max_length": workload.length,
        "--training_goal": workload.steps,
        "--learning_rate": workload.learning_rate,
        "--warmup": 0,
        "--eval_interval": "100%",
        "--save_interval": "100%",
        "--log_interval": workload.warm_up_steps,  # so that what is logged next is without them, as a peer's clock is
        "--accelerator": workload.accelerator,
        "--num_devices": workload.processes,
        "--micro_batch_size": workload.micro_batch_size or "auto",
        "--precision": workload.precision,
        "--trackers": "none",
    }
    if "--max_tokens_per_batch" in flags:
        del words["-b"]
    return [*(str(word) for pair in words.items() for word in pair), "--offline", *flags]


def measure_ours(flags: Sequence[str], workload: Workload, **options: Any) -> Result:
    """Train with train.py and further flags; its own clock counts everything between two steps."""
    with tempfile.TemporaryDirectory() as runs:
        _, resident = run(["train.py", *train_words(workload, Path(runs), flags)], workload, **options)
        return read_result(workload, RunFolder(Path(runs, "ours")), resident)


def read_result(workload: Workload, folder: RunFolder, resident_mib: float) -> Result:
    """What a training was, by the numbers that its run recorded.

    Args:
        workload: what was trained.
        folder: the run.
        resident_mib: its memory, where that is not the GPU's.
    """
    metrics, performance = read_metrics(folder.metrics), read_metrics(folder.performance)
    losses = {record["step"]: record[LOSS] for record in metrics if LOSS in record}
    counted = next(record["train/tokens"] / record["step"] for record in metrics if LOSS in record)
    of_peers = 1 if workload.shortest is not None else workload.tokens_per_step / counted
    speeds = [record[SPEED] for record in performance if record["step"] > workload.warm_up_steps]
    memory = performance[-1][GPU_MEMORY] if workload.is_on_gpu else resident_mib
    return Result(of_peers * statistics.harmonic_mean(speeds), memory, losses)


def measure_any(name: str, workload: Workload, **options: Any) -> Result:
    """Train with a peer, or with train.py and the flags that follow it in the name; `options` are those of `run`."""
    program, *flags = name.split()
    return measure_ours(flags, workload, **options) if program == OURS else measure_peer(name, workload, **options)


def tell_missing(name: str) -> bool:
    """Whether a peer's packages are missing; how to install them is told."""
    needed, asked = next((each for start, each in NEEDED.items() if name.startswith(start)), ((), ""))
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        print(f"{name}: not measured, it needs {' and '.join(missing)}: pip install {asked}")
    return bool(missing)


def table(
    objective: str, measured: Mapping[str, Sequence[Result]], utilization_per_speed: float | None = None
) -> Iterator[str]:
    """A Markdown table of the medians.

    Args:
        objective: what was trained.
        measured: what was measured of each trainer that did not fail.
        utilization_per_speed: MFU that a token a second makes; None where no peak of the device is known.
    """
    ours = medians(measured[OURS]) if OURS in measured else None
    has_peak = utilization_per_speed is not None
    yield f"| {objective} | tokens/s | ours to it |{' MFU |' * has_peak} peak memory, MiB | ours to it | final loss |"
    yield f"|---|---:|---:|{'---:|' * has_peak}---:|---:|---:|"
    for name, results in measured.items():
        speed, memory, loss = medians(results)
        ratios = (f"{ours[0] / speed:.2f} x", f"{ours[1] / memory:.2f} x") if ours else ("", "")
        utilization = f" {speed * utilization_per_speed:.1%} |" if utilization_per_speed is not None else ""
        yield f"| {name} | {speed:,.0f} | {ratios[0]} |{utilization} {memory:,.0f} | {ratios[1]} | {loss:.3f} |"
    yield ""


def medians(results: Sequence[Result]) -> tuple[float, float, float]:
    """Of speed, memory and final loss."""
    values = [(result.tokens_per_second, result.memory_mib, result.final_loss) for result in results]
    speed, memory, loss = (statistics.median(column) for column in zip(*values, strict=True))
    return speed, memory, loss


def write_report(output: Path, measured: Mapping[str, Mapping[str, Sequence[Result]]], **further: Any) -> None:
    """Write all that was measured as JSON, with what it depends on."""
    results = {
        task: {name: [asdict(one) for one in each] for name, each in of.items()} for task, of in measured.items()
    }
    report = {"command": sys.argv[1:], "machine": machine(), "date": time.strftime("%Y-%m-%d"), **further}
    output.write_text(json.dumps({**report, "measured": results}, indent=2) + "\n")
