"""Where the time of an optimizer step goes: what is not the network's own arithmetic, a line for each way to run.

python -m benchmarks.overheads [--rounds 3] [--steps 60] [-o overheads.json]

Real trainings of train.py in turn, at its default flags and with others, with a clock at each part of a step. Shares
are medians; `in the step besides` are seeds, sums of losses and the like, `between two steps` callbacks, records and
the loop. `--exact_reduce` computes with one thread on a CPU, so its peer does.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.trainer_parts.measuring import run, train_words
from benchmarks.trainer_parts.workload import Workload
from benchmarks.trainers import add_sizes

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
WAYS: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "default flags": ((), {}),
    "--log_interval 1": (("--log_interval", "1"), {}),
    "--num_workers 0": (("--num_workers", "0"), {}),
    "one thread": ((), ONE_THREAD),
    "one thread, --exact_reduce": (("--exact_reduce",), ONE_THREAD),
}
"""Flags of train.py, and variables, by what they are called."""
ARITHMETIC = ("forward", "backward", "clipping and optimizer")


def measure(workload: Workload, flags: Sequence[str], variables: Mapping[str, str]) -> dict[str, float]:
    """Train once; seconds of each part of a step."""
    with tempfile.TemporaryDirectory() as runs:
        parts = Path(runs, "parts.json")
        words = train_words(workload, Path(runs), flags)
        run(["-m", "benchmarks.trainer_parts.watched_train", str(parts), *words], workload, variables)
        measured: dict[str, float] = json.loads(parts.read_text())
    return measured


def table(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[str]:
    """A Markdown table of the medians."""
    parts = [part for part in next(iter(measured.values()))[0] if part not in ARITHMETIC]
    yield f"| | ms a step | {' | '.join(parts)} | all of these |"
    yield "|---" + "|---:" * (len(parts) + 2) + "|"
    for way, rounds in measured.items():
        steps = [sum(each.values()) for each in rounds]
        shares = {
            part: statistics.median(each[part] / step for each, step in zip(rounds, steps, strict=True))
            for part in parts
        }
        told = " | ".join(f"{share:.1%}" for share in (*shares.values(), sum(shares.values())))
        yield f"| {way} | {statistics.median(steps) * 1e3:,.0f} | {told} |"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objective", default="mlm", help="what is trained (%(default)s)")
    add_sizes(parser, steps=60)
    options = parser.parse_args()
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        sizes = options.size, options.vocab_size, options.rows, options.length, options.steps
        workload = Workload(options.objective, folder, *sizes)
        run(["-m", "benchmarks.trainer_parts.peers", "prepare"], workload)
        for number in range(options.rounds):
            for way, (flags, variables) in WAYS.items():
                print(f"round {number + 1}: {way}", file=sys.stderr, flush=True)
                measured[way].append(measure(workload, flags, variables))
    print("\n".join(table(measured)))
    date = time.strftime("%Y-%m-%d")
    print(f"{options.objective}, {options.rows} x {options.length} tokens; {machine()}; {date}")
    if options.output is not None:
        report = {"command": sys.argv[1:], "machine": machine(), "date": date, "measured": measured}
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
