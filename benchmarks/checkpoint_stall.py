"""How long a run stands still to save a checkpoint, at once and with `--save_in_background`, in steps of that run.

python -m benchmarks.checkpoint_stall [--millions 30] [--interval 8] [--saves 4] [--repeats 2] [-o FILE]

Real runs of a drawn RoBERTa, at once and in the background in turn, with all threads. The longest step is that which
saves; but what is written beside the training takes cores from it, so that the whole time lost to a checkpoint, from
one to the next, stands beside it. Both are relative to a usual step of the same run: the median of those in the second
half of the way from one checkpoint to the next, when nothing is being written any more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.side_by_side import add_output
from tests.launching import ROOT, write_corpus

WIDTH, VOCABULARY = 768, 400
WEIGHTS_OF_LAYER = 12 * WIDTH**2
MEBIBYTE = 2**20
WAYS = {"at once": (), "in the background": ("--save_in_background",)}


@dataclass(frozen=True)
class Timing:
    """The steps of a run.

    Attributes:
        usual: seconds of each step in the second half of the way to the next checkpoint.
        saving: seconds of each that saves.
        others: seconds of each between.
        checkpoint_mib: size of one.
    """

    usual: list[float]
    saving: list[float]
    others: list[float]
    checkpoint_mib: float

    @property
    def usual_seconds(self) -> float:
        """Of a usual step."""
        return statistics.median(self.usual)

    @property
    def lost(self) -> float:
        """What a checkpoint costs, in usual steps."""
        steps = [*self.usual, *self.saving, *self.others]
        return (sum(steps) / self.usual_seconds - len(steps)) / len(self.saving)


@dataclass(frozen=True)
class Row:
    """What a way of saving costs: medians, in usual steps but for `usual_seconds`."""

    way: str
    usual_seconds: float
    saving_step: float
    lost_to_checkpoint: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=30, help="millions of weights of the model")
    parser.add_argument("--rows", type=int, default=16, help="rows of a step")
    parser.add_argument("--micro_batch_size", type=int, default=8, help="rows of a forward pass")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row")
    parser.add_argument("--interval", type=int, default=8, help="steps from one checkpoint to the next")
    parser.add_argument("--saves", type=int, default=4, help="checkpoints of a run")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each way")
    parser.add_argument("--folder", help="where the runs stand meanwhile: its disk is what they are written to")
    add_output(parser)
    args = parser.parse_args()
    if args.saves < 2 or args.interval < 2:
        parser.error("--saves and --interval: two at least; what comes before the second checkpoint is no usual step")
    measured: dict[str, list[Timing]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        write_corpus(Path(folder, "data"), num_lines=4000)
        for _ in range(args.repeats):
            for way, flags in WAYS.items():
                measured[way].append(train(Path(folder).resolve(), args, flags))
    rows = list(summarize(measured))
    print("\n".join(table(rows)))
    size = f"{layers(args)} layers, a checkpoint of {measured['at once'][0].checkpoint_mib:,.0f} MiB"
    print(f"\n{size}; {args.rows} x {args.length} tokens a step; {machine()}; {time.strftime('%Y-%m-%d')}")
    if args.output is not None:
        report = {"command": sys.argv[1:], "machine": machine(), "date": time.strftime("%Y-%m-%d")}
        runs = {way: [asdict(timing) for timing in timings] for way, timings in measured.items()}
        args.output.write_text(json.dumps({**report, "rows": [asdict(row) for row in rows], "runs": runs}) + "\n")


def layers(args: argparse.Namespace) -> int:
    """As many as have so many weights."""
    return max(1, round(args.millions * 1e6 / WEIGHTS_OF_LAYER))


def train(root: Path, args: argparse.Namespace, further: Sequence[str]) -> Timing:
    """A run from its first step to its last, of which the steps after the first checkpoint are timed."""
    name = f"run-{len(list(root.glob('*.times')))}"
    times = root / f"{name}.times"
    shape = [f"hidden_size={WIDTH}", f"num_hidden_layers={layers(args)}", f"intermediate_size={4 * WIDTH}"]
    model = ["--model", "configs/models/roberta-mini", "--from_scratch", "--vocab_size", str(VOCABULARY)]
    sizes = f"--max_length {args.length} -b {args.rows} --micro_batch_size {args.micro_batch_size} --num_workers 0"
    goal = f"--training_goal {args.interval * (args.saves + 1)} --save_interval {args.interval} --max_checkpoints 1"
    quiet = "--eval_interval 100% --limit_dev_rows 8 --log_interval 1000 --trackers none --offline --progress false"
    where = ["-n", name, "-d", str(root / "data"), "--out_dir", str(root), "--cache_dir", str(root / "cache")]
    words = [*model, "--model_overrides", *shape, *sizes.split(), *goal.split(), *quiet.split(), *where, *further]
    command = [sys.executable, "-m", "benchmarks.timed_train", str(times), *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    size = sum(os.path.getsize(path) for path in (root / name / "checkpoints" / "last").rglob("*") if path.is_file())
    return timing_of([float(line) for line in times.read_text().split()], args.interval, size / MEBIBYTE)


def timing_of(ends: Sequence[float], interval: int, checkpoint_mib: float) -> Timing:
    """The steps from that of the second checkpoint, as the first warms up, to the last but one, as that evaluates.

    Args:
        ends: when each step ended.
        interval: steps from one checkpoint to the next.
        checkpoint_mib: size of a checkpoint.
    """
    steps = {step: end - start for step, (start, end) in enumerate(pairwise(ends), start=2)}
    timed = [(step % interval, seconds) for step, seconds in steps.items() if 2 * interval <= step < len(ends)]
    saving = [seconds for place, seconds in timed if place == 0]
    usual = [seconds for place, seconds in timed if place >= interval / 2]
    return Timing(usual, saving, [seconds for place, seconds in timed if 0 < place < interval / 2], checkpoint_mib)


def summarize(measured: dict[str, list[Timing]]) -> Iterator[Row]:
    """What each way costs."""
    for way, runs in measured.items():
        stalls = [seconds / run.usual_seconds for run in runs for seconds in run.saving]
        usual, lost = ([of(run) for run in runs] for of in (attrgetter("usual_seconds"), attrgetter("lost")))
        yield Row(way, *map(statistics.median, (usual, stalls, lost)))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A Markdown table."""
    yield "| checkpoints | a usual step, s | the step that saves, usual steps | lost to a checkpoint, usual steps |"
    yield "|---|---:|---:|---:|"
    for row in rows:
        yield f"| {row.way} | {row.usual_seconds:.2f} | {row.saving_step:.2f} | {row.lost_to_checkpoint:.2f} |"


if __name__ == "__main__":
    main()
