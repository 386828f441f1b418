"""How fast this project trains, beside a plain torch loop and the Hugging Face Trainer, and in how much memory.

python -m benchmarks.trainers [mlm clm sequence_classification seq2seq] [--rounds 3] [--steps 40] [-o trainers.json]
python -m benchmarks.trainers mlm --also "--micro_batch_size 8" --also "--exact_reduce"

The same network from the same weights (BERT-mini; GPT-2 and T5 of its size), rows, size of step, optimizer, clipping
and precision (float32), each in a process of its own, in turn, round after round. This project is train.py at its
default flags, and once more for each --also. The plain loop projects masked positions alone. The Trainer is that of
transformers' example scripts at its defaults, and with a loader process and the fused optimizer; with --compile once
more with torch_compile. Memory is the peak of what is resident in the process, libraries included.

Prints medians and what they are to ours; -o writes all that was measured.
"""

import argparse
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
from types import MappingProxyType
from typing import Any

from benchmarks.machine import machine
from benchmarks.trainer_parts.workload import NETWORKS, Workload
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics

ROOT = Path(__file__).parents[1]
OURS = "train.py"
NEEDED = {"trainer": ("accelerate", "datasets"), "trainer_best": ("accelerate", "datasets")}
"""Packages of a peer that this project does not need itself."""
SPEED, LOSS = "performance/tokens_per_second", "train/loss"
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Result:
    """What one training was.

    Attributes:
        tokens_per_second: after the first steps.
        memory_mib: the most that was resident in its process.
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
    words: Sequence[str], workload: Workload, variables: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, float]:
    """Run Python with these words and the workload on stdin; what it prints, and its peak memory in MiB.

    Raises:
        RuntimeError: it fails.
    """
    with ExitStack() as files:
        stdin, stdout, stderr = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        json.dump(asdict(workload), stdin)
        stdin.seek(0)
        command, place = [sys.executable, *words], {**os.environ, **variables}
        process = subprocess.Popen(command, cwd=ROOT, env=place, stdin=stdin, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (stdout, stderr):
            file.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{stderr.read()}")
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return stdout.read(), usage.ru_maxrss * unit / MEBIBYTE


def measure_peer(name: str, workload: Workload) -> Result:
    """Train with a peer."""
    printed, memory = run(["-m", "benchmarks.trainer_parts.peers", name], workload)
    measured = json.loads(printed.splitlines()[-1])
    losses = {int(step): loss for step, loss in measured["losses"].items()}
    return Result(workload.tokens_per_step / measured["seconds_per_step"], memory, losses)


def train_words(workload: Workload, runs: Path, flags: Sequence[str]) -> list[str]:
    """The words after train.py: the workload at the default flags, and further flags."""
    words = {
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
        "--accelerator": "cpu",
        "--trackers": "none",
    }
    return [*(str(word) for pair in words.items() for word in pair), "--offline", *flags]


def measure_ours(flags: Sequence[str], workload: Workload) -> Result:
    """Train with train.py and further flags; its own clock counts everything between two steps."""
    with tempfile.TemporaryDirectory() as runs:
        _, memory = run(["train.py", *train_words(workload, Path(runs), flags)], workload)
        folder = RunFolder(Path(runs, "ours"))
        metrics, performance = read_metrics(folder.metrics), read_metrics(folder.performance)
    losses = {record["step"]: record[LOSS] for record in metrics if LOSS in record}
    counted = next(record["train/tokens"] / record["step"] for record in metrics if LOSS in record)
    speeds = [record[SPEED] for record in performance if record["step"] > workload.warm_up_steps]
    return Result(workload.tokens_per_step / counted * statistics.harmonic_mean(speeds), memory, losses)


def measure(objective: str, options: argparse.Namespace) -> dict[str, list[Result]]:
    """Train with each in turn, as often as asked; who is missing is told, and left out."""
    names = [OURS, *(f"{OURS} {flags}" for flags in options.also), "plain", "trainer", "trainer_best"]
    names += ["trainer_compiled"] if options.compile else []
    measured: dict[str, list[Result]] = {name: [] for name in names if not tell_missing(name)}
    with tempfile.TemporaryDirectory() as folder:
        sizes = options.size, options.vocab_size, options.rows, options.length, options.steps
        workload = Workload(objective, folder, *sizes)
        run(["-m", "benchmarks.trainer_parts.peers", "prepare"], workload)
        for number in range(options.rounds):
            for name, results in measured.items():
                print(f"{objective}, round {number + 1}: {name}", file=sys.stderr, flush=True)
                is_ours = name.startswith(OURS)
                results.append(measure_ours(name.split()[1:], workload) if is_ours else measure_peer(name, workload))
    return measured


def tell_missing(name: str) -> bool:
    """Whether a peer's packages are missing; how to install them is told."""
    missing = [package for package in NEEDED.get(name.replace("compiled", "best"), ()) if find_spec(package) is None]
    if missing:
        print(f"{name}: not measured, it needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    return bool(missing)


def table(objective: str, measured: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    """A Markdown table of the medians."""
    ours = medians(measured[OURS])
    yield f"| {objective} | tokens/s | ours to it | peak memory, MiB | ours to it | final loss |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, results in measured.items():
        speed, memory, loss = medians(results)
        ratios = f"{ours[0] / speed:.2f} x", f"{ours[1] / memory:.2f} x"
        yield f"| {name} | {speed:,.0f} | {ratios[0]} | {memory:,.0f} | {ratios[1]} | {loss:.3f} |"
    yield ""


def medians(results: Sequence[Result]) -> tuple[float, float, float]:
    """Of speed, memory and final loss."""
    values = [(result.tokens_per_second, result.memory_mib, result.final_loss) for result in results]
    speed, memory, loss = (statistics.median(column) for column in zip(*values, strict=True))
    return speed, memory, loss


def add_sizes(parser: argparse.ArgumentParser, *, steps: int) -> None:
    """Add the flags that say what is trained, how often, and where the figures go."""
    parser.add_argument("--rounds", type=int, default=3, help="trainings with each (%(default)s)")
    parser.add_argument("--steps", type=int, default=steps, help="optimizer steps of a training (%(default)s)")
    parser.add_argument("--rows", type=int, default=32, help="rows of an optimizer step (%(default)s)")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row (%(default)s)")
    parser.add_argument("--vocab_size", type=int, default=30522, help="tokens of the vocabulary (%(default)s)")
    parser.add_argument("--size", choices=("mini", "tiny"), default="mini", help="of the network (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where all figures go, as JSON")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objectives", nargs="*", metavar="objective", help=f"of {', '.join(NETWORKS)}; none: all")
    add_sizes(parser, steps=40)
    parser.add_argument("--also", action="append", default=[], metavar="FLAGS", help="measure train.py with them, too")
    parser.add_argument("--compile", action="store_true", help="measure the Trainer with torch_compile, too")
    options = parser.parse_args(words)
    if unknown := set(options.objectives) - set(NETWORKS):
        parser.error(f"no objective {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    return options


def main() -> None:
    """Measure, print, write."""
    options = parse()
    measured = {}
    for objective in options.objectives or NETWORKS:
        measured[objective] = measure(objective, options)
        print("\n".join(table(objective, measured[objective])), flush=True)
    date = time.strftime("%Y-%m-%d")
    size = (
        f"{options.size}, {options.rows} x {options.length} tokens, {options.vocab_size:,} in the vocabulary, float32"
    )
    print(f"{size}; medians of {options.rounds} x {options.steps} steps; {machine()}; {date}")
    if options.output is not None:
        results = {
            task: {name: [asdict(one) for one in each] for name, each in of.items()} for task, of in measured.items()
        }
        report: dict[str, Any] = {"command": sys.argv[1:], "machine": machine(), "date": date, "measured": results}
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
