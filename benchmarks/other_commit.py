"""How fast this code trains beside that of another commit: what a change of the training core costs.

python -m benchmarks.other_commit COMMIT [--steps 60] [--repeats 5]

The peer is the same run by the code of COMMIT, in turn with ours, each a new process with one thread. Processor time is
told beside speed: it hardly depends on what else the machine does.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from dlib.runs.metrics_log import read_metrics
from tests.launching import ROOT, Place, write_corpus

SPEED, PROCESSOR = "performance/tokens_per_second", "processor seconds"
KINDS = {
    "mlm": ["--objective", "mlm", "--model", "configs/models/roberta-tiny", "--model_overrides", "num_hidden_layers=2"],
    "clm": ["--objective", "clm", "--model", "configs/models/gpt2-tiny", "--model_overrides", "n_layer=2"],
}


def measure(tree: Path, place: Place, name: str, flags: list[str]) -> dict[str, float]:
    """Train once by the code in `tree`: median speed in tokens/s after the first step, and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(tree / "train.py"), *place.arguments(name, *flags)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    records = read_metrics(place.folder(name).performance)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {SPEED: statistics.median(record[SPEED] for record in records[1:]), PROCESSOR: seconds}


def main() -> None:
    """Print the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the peer's code")
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps of a run")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each code and objective")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        peer = root / "peer"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(peer)], check=True)
        subprocess.run(["git", "-C", str(peer), "checkout", "--quiet", args.commit], check=True)
        place = Place(data=write_corpus(root / "data", num_lines=4000), cache=root / "cache", runs=root / "runs")
        goal = ["--training_goal", str(args.steps), "--eval_interval", str(args.steps), "--log_interval", "5"]
        for kind, flags in KINDS.items():
            further = [*flags, *goal, "--max_length", "128", "-b", "32", "--num_workers", "0", "--num_devices", "1"]
            found: dict[str, list[dict[str, float]]] = {"peer": [], "ours": []}
            for number in range(args.repeats):
                trees = [("peer", peer), ("ours", ROOT)]
                for name, tree in trees if number % 2 else reversed(trees):  # who goes first may find a cooler machine
                    found[name].append(measure(tree, place, f"{kind}-{name}-{number}", further))
            peers, ours = (
                {key: statistics.median(run[key] for run in runs) for key in runs[0]} for runs in found.values()
            )
            print(
                f"{kind}: ours / {args.commit}: {ours[SPEED] / peers[SPEED]:.3f} x the tokens/s, "
                f"{ours[PROCESSOR] / peers[PROCESSOR]:.3f} x the processor time, start and end included"
            )


if __name__ == "__main__":
    main()
