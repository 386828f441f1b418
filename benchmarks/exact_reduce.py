"""What --exact_reduce costs: a tree of gradients and one exchange after the backward pass, in place of DDP's buckets.

python -m benchmarks.exact_reduce [--processes 2] [--accumulation 4] [--steps 40] [--repeats 3]

The peer is the same run without it, in turn with ours, both with one thread a process.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from dlib.runs.metrics_log import read_metrics
from tests.launching import Place, start, write_corpus

SPEED, MEMORY = "performance/tokens_per_second", "performance/memory_mib"
ROWS = 4


def measure(place: Place, name: str, args: argparse.Namespace, *further: str) -> dict[str, float]:
    """Trains once; the median speed in tokens/s after the first step, and the first process's peak memory in MiB."""
    batch_size = ROWS * args.processes * args.accumulation
    shape = ["--model", args.model, "--model_overrides", "num_hidden_layers=4", "--max_length", "128"]
    flags = [*shape, "-b", str(batch_size), "--micro_batch_size", str(ROWS), "--num_devices", str(args.processes)]
    goal = ["--training_goal", str(args.steps), "--eval_interval", str(args.steps), "--save_interval", str(args.steps)]
    with start(place.arguments(name, *flags, *goal, *further), place.runs / "output") as training:
        result = training.result()
    assert result.status == 0, result.stderr
    records = read_metrics(place.folder(name).performance)
    return {SPEED: statistics.median(record[SPEED] for record in records[1:]), MEMORY: records[-1][MEMORY]}


def main() -> None:
    """Print the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="configs/models/roberta-mini", help="folder of a masked language model")
    parser.add_argument("--processes", type=int, default=2, help="number of processes")
    parser.add_argument("--accumulation", type=int, default=4, help="micro-batches of a process in a step")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of a run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way")
    args = parser.parse_args()
    measured: dict[str, list[dict[str, float]]] = {"usual": [], "exact": []}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        place = Place(data=write_corpus(root / "data", num_lines=4000), cache=root / "cache", runs=root / "runs")
        for number in range(args.repeats):
            measured["usual"].append(measure(place, f"usual-{number}", args))
            measured["exact"].append(measure(place, f"exact-{number}", args, "--exact_reduce"))
    usual, exact = ({key: statistics.median(run[key] for run in runs) for key in runs[0]} for runs in measured.values())
    print(f"{args.model}, {args.processes} processes, {args.accumulation} micro-batches of {ROWS} rows each in a step")
    print(
        f"exact / usual: {usual[SPEED] / exact[SPEED]:.2f} x the time, {exact[MEMORY] / usual[MEMORY]:.2f} x the memory"
    )


if __name__ == "__main__":
    main()
