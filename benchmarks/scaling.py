"""How much faster several CPU processes train than one, one thread each, beside a plain torch loop with DDP.

python -m benchmarks.scaling [mlm | clm] [--processes 1 2 4] [--rounds 3] [--steps 12] [-o scaling.json]

This project is train.py, and once more with --exact_reduce; the plain loop is that of benchmarks/trainers.py in torch's
DistributedDataParallel as it comes, with gloo. All of them have the same network, weights, rows, size of step,
optimizer, clipping and micro-batches, and train in turn, with each number of processes, round after round. One process
is DDP in none of them.

Efficiency is the speed with N processes by N times that with one: C cores allow N processes C / N of it. The ratios
are medians of those within a round, the speeds medians of all rounds; -o writes all that was measured.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from benchmarks.machine import machine
from benchmarks.trainer_parts.measuring import OURS, Result, measure_any, run, write_report
from benchmarks.trainer_parts.workload import Workload
from benchmarks.trainers import add_sizes
from dlib.process.threads import usable_cores

PLAIN = "plain"
WAYS = (OURS, f"{OURS} --exact_reduce", PLAIN)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
POWERS_OF_TWO = (1, 2, 4, 8, 16, 32, 64)

Measured = dict[int, dict[str, list[Result]]]
"""What was measured round after round, by number of processes and by who trained."""


def measure(options: argparse.Namespace) -> Measured:
    """Train in each way with each number of processes in turn, as often as asked."""
    measured: Measured = {processes: {way: [] for way in WAYS} for processes in options.processes}
    with tempfile.TemporaryDirectory() as folder:
        sizes = options.size, options.vocab_size, options.rows, options.length, options.steps
        workload = Workload(options.objective, folder, *sizes, micro_batch_size=options.micro_batch_size)
        run(["-m", "benchmarks.trainer_parts.peers", "prepare"], workload)
        for number in range(options.rounds):
            for processes, ways in measured.items():
                for way, results in ways.items():
                    print(f"round {number + 1}, {processes} processes: {way}", file=sys.stderr, flush=True)
                    results.append(measure_any(way, replace(workload, processes=processes), variables=ONE_THREAD))
    return measured


def table(objective: str, measured: Mapping[int, Mapping[str, Sequence[Result]]]) -> Iterator[str]:
    """A Markdown table of the medians; efficiency is to the fewest processes that were measured."""
    yield f"| {objective} | processes | tokens/s | to the plain loop | efficiency |"
    yield "|---|---:|---:|---:|---:|"
    fewest = min(measured)
    for processes, ways in measured.items():
        for way, results in ways.items():
            speed = statistics.median(result.tokens_per_second for result in results)
            to_plain = ratio(results, ways[PLAIN])
            efficiency = ratio(results, measured[fewest][way]) * fewest / processes
            yield f"| {way} | {processes} | {speed:,.0f} | {to_plain:.2f} x | {efficiency:.2f} |"


def ratio(results: Sequence[Result], others: Sequence[Result]) -> float:
    """The median of what speeds are to those of the same round."""
    pairs = zip(results, others, strict=True)
    return statistics.median(result.tokens_per_second / other.tokens_per_second for result, other in pairs)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objective", nargs="?", default="mlm", choices=("mlm", "clm"), help="what is trained (mlm)")
    parser.add_argument(
        "--processes",
        type=int,
        nargs="+",
        choices=POWERS_OF_TWO,
        default=[1, 2, 4],
        metavar="N",
        help="how many, powers of two, as --exact_reduce needs (1 2 4)",
    )
    parser.add_argument("--micro_batch_size", type=int, default=8, help="rows of a forward pass (%(default)s)")
    add_sizes(parser, steps=12)
    options = parser.parse_args(words)
    if options.rows % (options.micro_batch_size * max(options.processes)):
        most = f"{max(options.processes)} processes of {options.micro_batch_size} rows (--micro_batch_size)"
        parser.error(f"--rows {options.rows}: {most} cannot share them; give a multiple of their product")
    return options


def main() -> None:
    """Measure, print, write."""
    options = parse()
    measured, cores = measure(options), usable_cores()
    print("\n".join(table(options.objective, measured)))
    sizes = (
        f"{options.size}, {options.rows} x {options.length} tokens in micro-batches of {options.micro_batch_size} rows"
    )
    rest = f"{options.vocab_size:,} in the vocabulary, float32; medians of {options.rounds} x {options.steps} steps"
    print(f"\nOne thread a process, {cores} usable cores; {sizes}, {rest}; {machine()}; {time.strftime('%Y-%m-%d')}")
    if options.output is not None:
        by_processes = {f"{processes} processes": ways for processes, ways in measured.items()}
        write_report(options.output, by_processes, objective=options.objective, usable_cores=cores)


if __name__ == "__main__":
    main()
