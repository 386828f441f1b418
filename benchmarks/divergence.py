"""What changes a run's numbers, and by how much: the table of limits in docs/exactness.md.

python -m benchmarks.divergence [--steps 40]

Each run differs in one thing from a first one. The last ones draw other dropout, or all else anew: that is what a real
change looks like.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dlib.runs.metrics_log import read_metrics
from tests.launching import ROOT, Place, environment, write_corpus

TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Change:
    """What one run has that the first does not; `both` is what the two share beside that."""

    words: str
    flags: tuple[str, ...] = ()
    threads: int = 1
    both: tuple[str, ...] = ()


CHANGES = (
    Change("nothing"),
    Change("`--num_workers 2`", ("--num_workers", "2")),
    Change("two processes, both with `--exact_reduce`", ("--num_devices", "2"), both=("--exact_reduce",)),
    Change("two processes", ("--num_devices", "2")),
    Change("two threads", threads=2),
    Change("`--eval_batch_size 16`", ("--eval_batch_size", "16")),
    Change("`--attn_implementation eager`", ("--attn_implementation", "eager")),
    Change("`--loss_chunk 4`", ("--loss_chunk", "4")),
    Change("`--precision bf16-mixed`", ("--precision", "bf16-mixed")),
    Change("`--compile`: draws its own dropout", ("--compile",)),
    Change("`--micro_batch_size 4`: dropout is drawn by micro-batch", ("--micro_batch_size", "4")),
    Change("`--seed 2`", ("--seed", "2")),
)
"""The first run has dropout, and micro-batches of 1 row of 8."""


def losses(place: Place, name: str, change: Change, steps: int) -> tuple[bytes, list[float], list[float]]:
    """Trains; the bytes of metrics.jsonl, the training losses and the dev losses, in nats."""
    shape = ["--attn_implementation", "sdpa", "--micro_batch_size", "1"]
    goal = ["--training_goal", str(steps), "--eval_interval", "10"]
    command = [sys.executable, "train.py", *place.arguments(name, *shape, *goal, *change.both, *change.flags)]
    threads = {"OMP_NUM_THREADS": str(change.threads), "MKL_NUM_THREADS": str(change.threads)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment() | threads, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    assert done.returncode == 0, done.stderr
    records = read_metrics(place.folder(name).metrics)
    train, dev = ([record[key] for record in records if key in record] for key in ("train/loss", "dev/loss"))
    return place.folder(name).metrics.read_bytes(), train, dev


def largest_difference(values: list[float], others: list[float]) -> float:
    """The largest relative difference of two curves."""
    return max(abs(one - two) / abs(two) for one, two in zip(values, others, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of a run")
    steps = parser.parse_args().steps
    print("| changed | the same bits | train loss, relative | dev loss, relative |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        place = Place(data=write_corpus(root / "data"), cache=root / "cache", runs=root / "runs")
        firsts = {
            both: losses(place, f"first-{len(both)}", Change("nothing", both=both), steps)
            for both in dict.fromkeys(change.both for change in CHANGES)
        }
        for number, change in enumerate(CHANGES):
            first = firsts[change.both]
            metrics, train, dev = losses(place, f"run-{number}", change, steps)
            differences = f"{largest_difference(train, first[1]):.0g} | {largest_difference(dev, first[2]):.0g}"
            same = metrics == first[0]
            print(f"| {change.words} | {'yes' if same else 'no'} | {'0 | 0' if same else differences} |", flush=True)


if __name__ == "__main__":
    main()
