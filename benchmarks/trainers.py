"""How fast this project trains, beside a plain torch loop and the Hugging Face Trainer, and in how much memory.

python -m benchmarks.trainers [mlm clm sequence_classification seq2seq] [--rounds 3] [--steps 40] [-o trainers.json]
python -m benchmarks.trainers mlm --also "--micro_batch_size 8" --also "--exact_reduce"
python -m benchmarks.trainers sequence_classification --shortest 4 --also "--max_tokens_per_batch 2048"

The same network from the same weights (BERT-mini; GPT-2 and T5 of its size), rows, size of step, optimizer, clipping
and precision (float32), each in a process of its own, in turn, round after round. This project is train.py at its
default flags, and once more for each --also. The plain loop projects masked positions alone. The Trainer is that of
transformers' example scripts at its defaults, and with a loader process and the fused optimizer; with --compile once
more with torch_compile. With --shortest lines are of unlike length: each fills its rows as it does by default (this
project packs a text, the others pad each line), and the Trainer at its best has rows of like length together. Memory is
the peak of what is resident in the process, libraries included.

Prints medians and what they are to ours; -o writes all that was measured.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.trainer_parts.measuring import OURS, Result, measure_any, run, table, tell_missing, write_report
from benchmarks.trainer_parts.workload import FRAME, NETWORKS, Workload


def measure(objective: str, options: argparse.Namespace) -> dict[str, list[Result]]:
    """Train with each in turn, as often as asked; who is missing is told, and left out."""
    names = [OURS, *(f"{OURS} {flags}" for flags in options.also), "plain", "trainer", "trainer_best"]
    names += ["trainer_compiled"] if options.compile else []
    measured: dict[str, list[Result]] = {name: [] for name in names if not tell_missing(name)}
    with tempfile.TemporaryDirectory() as folder:
        sizes = options.size, options.vocab_size, options.rows, options.length, options.steps
        workload = Workload(objective, folder, *sizes, shortest=options.shortest)
        run(["-m", "benchmarks.trainer_parts.peers", "prepare"], workload)
        for number in range(options.rounds):
            for name, results in measured.items():
                print(f"{objective}, round {number + 1}: {name}", file=sys.stderr, flush=True)
                results.append(measure_any(name, workload))
    return measured


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
    parser.add_argument("--shortest", type=int, metavar="WORDS", help="of the shortest line (all fill rows)")
    options = parser.parse_args(words)
    if unknown := set(options.objectives) - set(NETWORKS):
        parser.error(f"no objective {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    if options.shortest is not None and not 1 <= options.shortest <= options.length - FRAME:
        parser.error(f"--shortest {options.shortest}: a row has room for 1 to {options.length - FRAME} words")
    return options


def main() -> None:
    """Measure, print, write."""
    options = parse()
    measured = {}
    for objective in options.objectives or NETWORKS:
        measured[objective] = measure(objective, options)
        print("\n".join(table(objective, measured[objective])), flush=True)
    size = f"{options.size}, {options.rows} x {options.length} tokens, {options.vocab_size:,} in the vocabulary"
    size += "" if options.shortest is None else f", lines of {options.shortest} words and more"
    medians_of = f"float32; medians of {options.rounds} x {options.steps} steps"
    print(f"{size}, {medians_of}; {machine()}; {time.strftime('%Y-%m-%d')}")
    if options.output is not None:
        write_report(options.output, measured)


if __name__ == "__main__":
    main()
