"""Is it still as fast as it was? Ratios to a plain torch loop that must hold, for continuous integration.

python -m benchmarks.guard [mlm clm] [--rounds 1] [--steps 6]

What `benchmarks.trainers` measures, small: train.py at its default flags and the plain loop in turn, each in a process
of its own. Ratios are compared and no seconds; the limits leave room for the noise of a machine that is not alone, so
that what fails here is no trifle. Exit status 1 where one does not hold.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.trainer_parts.measuring import OURS, Result, measure_any, medians, run
from benchmarks.trainer_parts.workload import Workload

PLAIN = "plain"
TRIES = 2
VOCAB_SIZE, ROWS, LENGTH = 30_522, 32, 128


class Limits(NamedTuple):
    """What train.py has to keep beside the plain loop."""

    speed: float  # at least, in its tokens a second
    memory: float  # at most, in its peak


LIMITS = {"mlm": Limits(0.75, 1.1), "clm": Limits(0.9, 0.7)}
"""By objective; docs/performance.md has what they are on a quiet machine."""


def measure(workload: Workload, rounds: int) -> dict[str, list[Result]]:
    """Train with both in turn."""
    measured: dict[str, list[Result]] = {OURS: [], PLAIN: []}
    for _ in range(rounds):
        for name, results in measured.items():
            results.append(measure_any(name, workload))
    return measured


def compare(objective: str, measured: Mapping[str, Sequence[Result]]) -> bool:
    """Print both ratios; whether they are within the limits."""
    (speed, memory, _), (plain_speed, plain_memory, _) = (medians(measured[name]) for name in (OURS, PLAIN))
    limits = LIMITS[objective]
    holds = speed >= limits.speed * plain_speed and memory <= limits.memory * plain_memory
    print(
        f"{objective}: {speed / plain_speed:.2f} x the plain loop's speed (at least {limits.speed}), "
        f"{memory / plain_memory:.2f} x its memory (at most {limits.memory}): {'holds' if holds else 'BROKEN'}",
        flush=True,
    )
    return holds


def main() -> int:
    """Measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objectives", nargs="*", metavar="objective", help=f"of {', '.join(LIMITS)}; none: all")
    parser.add_argument("--rounds", type=int, default=1, help="trainings with each (%(default)s)")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps of a training (%(default)s)")
    parser.add_argument("--size", choices=("mini", "tiny"), default="mini", help="of the network (%(default)s)")
    options = parser.parse_args()
    if unknown := set(options.objectives) - set(LIMITS):
        parser.error(f"no objective {', '.join(unknown)}; there are {', '.join(LIMITS)}")
    held = []
    for objective in options.objectives or LIMITS:
        with tempfile.TemporaryDirectory() as folder:
            workload = Workload(objective, folder, options.size, VOCAB_SIZE, ROWS, LENGTH, options.steps)
            run(["-m", "benchmarks.trainer_parts.peers", "prepare"], workload)
            # Once more where it does not hold: the machine may have done something else in between.
            held.append(any(compare(objective, measure(workload, options.rounds)) for _ in range(TRIES)))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
