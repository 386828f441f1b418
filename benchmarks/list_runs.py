"""How long `runs.py list` takes on many runs, against the least that any program would do.

python -m benchmarks.list_runs [--runs 1000] [--repeats 7]

The peers, in turn with ours and on the same folders: an interpreter that does nothing, and one with a bare loop that
opens every status.json and stats every file, to tell nothing but a sum. The folders are generated, with the files of a
real run; the weights are holes in their files.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dlib.args import ExperimentArgs
from dlib.config.configuration import dump_config
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from tests.launching import ROOT

CHECKPOINT_STEPS = (800, 900, 1000)
WEIGHTS_BYTES, STATE_BYTES, TOKENIZER_BYTES = 2_500_000, 5_000_000, 55_000
BARE_LOOP = """
import json, os, sys
total = 0
for run in os.scandir(sys.argv[1]):
    with open(run.path + "/status.json") as file:
        json.load(file)
    for folder, _, files in os.walk(run.path):
        for name in files:
            total += os.lstat(os.path.join(folder, name)).st_size
print(total)
"""


def write_runs(workspace: Path, number: int) -> None:
    """Writes the folders of so many finished runs."""
    config = dump_config(ExperimentArgs())
    for index in range(number):
        run = RunFolder(workspace / f"run-{index:05d}")
        run.root.mkdir(parents=True)
        run.config.write_text(config)
        run.record.write_text(json.dumps({"packages": {f"package-{place}": "1.0" for place in range(100)}}))
        run.lock.touch()
        run.log.write_text("step 1\n" * 100)
        run.metrics.write_text("".join(metrics_line(step, index) for step in range(10, 1001, 10)))
        run.performance.write_text('{"step": 1, "performance/tokens_per_second": 1.0}\n' * 100)
        for step in CHECKPOINT_STEPS:
            write_checkpoint(CheckpointFolder(run.checkpoint(step)))
        run.last.symlink_to(run.checkpoint(CHECKPOINT_STEPS[-1]).name)
        run.best.symlink_to(run.checkpoint(CHECKPOINT_STEPS[-1]).name)
        run.write_status("finished", CHECKPOINT_STEPS[-1], CHECKPOINT_STEPS[-1])


def metrics_line(step: int, index: int) -> str:
    """One line of metrics.jsonl."""
    loss = 10 - step / 200 + index / 1000
    training = {"train/loss": loss, "train/learning_rate": 1e-3, "train/gradient_norm": 1.5, "train/tokens": step * 100}
    return json.dumps({"step": step, **training, "dev/loss": loss, "dev/accuracy": 0.5}) + "\n"


def write_checkpoint(checkpoint: CheckpointFolder) -> None:
    """Writes a checkpoint without content."""
    checkpoint.model.mkdir(parents=True)
    for name, size in (
        ("config.json", 700),
        ("model.safetensors", WEIGHTS_BYTES),
        ("tokenizer.json", TOKENIZER_BYTES),
        ("tokenizer_config.json", 350),
    ):
        (checkpoint.model / name).touch()
        os.truncate(checkpoint.model / name, size)
    checkpoint.state.touch()
    os.truncate(checkpoint.state, STATE_BYTES)


def seconds(command: Sequence[str]) -> float:
    """How long a process takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="number of run folders")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as workspace:
        write_runs(Path(workspace), args.runs)
        commands = {
            "runs.py list": ["runs.py", "list", "--out_dir", workspace],
            "a bare loop": ["-c", BARE_LOOP, workspace],
            "python -c pass": ["-c", "pass"],
        }
        measured: dict[str, list[float]] = {name: [] for name in commands}
        for repeat in range(args.repeats + 1):
            for name, command in commands.items():
                taken = seconds(command)
                if repeat:  # the first warms up
                    measured[name].append(taken)
    print(f"{args.runs:,} runs (medians of {args.repeats}, and the fastest)")
    ours = statistics.median(measured["runs.py list"])
    for name, values in measured.items():
        median = statistics.median(values)
        print(f"{name}: {median * 1e3:.0f} ms ({min(values) * 1e3:.0f}), list takes {ours / median:.2f} x the time")


if __name__ == "__main__":
    main()
