"""How many rows a second the loader of a training hands over, beside how many the model eats.

python -m benchmarks.loader [--model configs/models/roberta-mini] [--objective mlm] [--workers 0 1] [-o loader.json]

In one process and on the same rows: the loader alone, with so many worker processes; and forward pass, backward pass
and optimizer on batches that are there already. A loader that is not many times as fast makes the model wait.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from dlib.config.configuration import parse_args
from dlib.data.loader_workers import StepLoader
from dlib.data.steps import TrainingSteps
from dlib.models.loading import build_model
from dlib.runs.folder import RunFolder
from dlib.training.preflight import find_inputs, settle_hardware
from dlib.training.preparation import Preparation, prepare
from tests.launching import ROOT, write_corpus

WARMING_STEPS = 2


def prepare_run(root: Path, flags: argparse.Namespace) -> Preparation:
    """A run on a generated text, of as many steps as are needed."""
    data, steps = write_corpus(root / "data", num_lines=4000), max(flags.loaded_steps, flags.trained_steps)
    words = ["--plan", "-d", str(data), "--cache_dir", str(root / "cache"), "--model", flags.model, "--from_scratch"]
    words += ["--objective", flags.objective, "--max_length", str(flags.max_length), "-b", str(flags.rows)]
    words += ["--micro_batch_size", str(flags.rows), "--training_goal", str(steps + WARMING_STEPS)]
    parsed = parse_args([*words, "--num_devices", "1", "--trackers", "none", "--offline"], description="")
    inputs = find_inputs(parsed.args, RunFolder(root / "run"), plan_only=True)
    args, devices = settle_hardware(parsed.args)
    return prepare(args, inputs, devices)


def seconds_of(work: Iterable[Any], count: int) -> float:
    """How long so many items take, after the first ones."""
    items = iter(work)
    for _ in range(WARMING_STEPS):
        next(items)
    started = time.perf_counter()
    for _ in islice(items, count):
        pass
    return time.perf_counter() - started


def trained(run: Preparation, steps: list[dict[str, Any]]) -> Iterable[None]:
    """Optimizer steps, one after the other."""
    device = torch.device(run.devices.accelerator)
    model = build_model(run.args, run.source, run.tokenizer, run.objective.head, run.devices.precision, run.flag)
    model.to(device).train()  # type: ignore[arg-type] # transformers narrows what torch takes
    optimizer = torch.optim.AdamW(model.parameters())
    for step in steps:
        for micro_batch in step["micro_batches"]:
            batch = {name: value.to(device) for name, value in micro_batch["batch"].items()}
            with torch.autocast(device.type, torch.bfloat16, enabled="bf16" in run.devices.precision):
                loss = run.objective.loss_sum(model, batch) / step["weight"]
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        yield


def measure(root: Path, flags: argparse.Namespace) -> dict[str, float]:
    """Rows a second by what hands them over or eats them."""
    run = prepare_run(root, flags)
    steps = TrainingSteps(run.data.train, run.plan.batches, run.objective, 0, 1)
    found = {}
    for workers in flags.workers:
        loader = StepLoader(steps, sampler=range(len(steps)), num_workers=workers)
        found[f"loader, {workers} workers"] = flags.rows * flags.loaded_steps / seconds_of(loader, flags.loaded_steps)
    ready = [steps[step] for step in range(WARMING_STEPS + flags.trained_steps)]
    found["model"] = flags.rows * flags.trained_steps / seconds_of(trained(run, ready), flags.trained_steps)
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "configs/models/roberta-mini"), help="folder of a model")
    parser.add_argument("--objective", default="mlm", help="what it learns")
    parser.add_argument("--rows", type=int, default=32, help="rows of a step")
    parser.add_argument("--max_length", type=int, default=128, help="tokens of a row")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="worker processes of the loader")
    parser.add_argument("--loaded_steps", type=int, default=300, help="steps that the loader hands over")
    parser.add_argument("--trained_steps", type=int, default=10, help="steps that the model eats")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the figures go, as JSON")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows_a_second = measure(Path(folder), flags)
    print("| | rows/s | x the model |\n|---|---:|---:|")
    for name, rows in rows_a_second.items():
        print(f"| {name} | {rows:,.0f} | {rows / rows_a_second['model']:.1f} |")
    report = {"command": sys.argv[1:], "machine": machine(), "date": time.strftime("%Y-%m-%d")}
    print(f"\n{flags.rows} x {flags.max_length} tokens, {flags.objective}; {report['machine']}; {report['date']}")
    if flags.output is not None:
        flags.output.write_text(json.dumps({**report, "rows_per_second": rows_a_second}, indent=2) + "\n")


if __name__ == "__main__":
    main()
