"""How well training uses a GPU, beside a plain compiled torch loop and the Hugging Face Trainer: tokens/s, MFU, memory.

python -m benchmarks.gpu [mlm clm] [-o gpu.json]      under ten minutes
python -m benchmarks.gpu --toy                        the same paths on a CPU: small networks, nothing compiled

RoBERTa-base at 512 tokens (mlm) and GPT-2 124M at 1,024 (clm), drawn from their configurations, nothing of the hub; on
random words, in bf16-mixed, 32,768 tokens a step. As in benchmarks/trainers.py all get the same weights, rows, size of
step, optimizer and clipping, each in a process of its own, in turn, on one GPU. train.py is measured at its default
flags, and with the step as one compiled micro-batch. The plain loop is compiled, and for clm measured once more with
the kernel of liger-kernel, where that is installed. The Trainer is measured at its defaults, but for bf16 and the step
as one batch; with loader processes and the fused optimizer; and with torch_compile besides. Memory is the most that
torch has allocated on the GPU.

MFU is the arithmetic that the training needs, the same for all, by what the GPU could do (Chowdhery et al. 2022, PaLM,
appendix B): 6 N + 12 L H T FLOP a token, and 6 V H a target token, where N are the weights of the layers, L and H their
number and width, T the tokens of a row and V those of the vocabulary; what train.py logs as
performance/model_flops_utilization. What the GPU could do is what its data sheet says of dense 16-bit products, where
dlib/training/devices.py knows it, else what a large bf16 product of matrices reaches here; the last line says which.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

from benchmarks.machine import machine
from benchmarks.trainer_parts.measuring import OURS, Result, measure_any, run, table, tell_missing, write_report
from benchmarks.trainer_parts.workload import Workload
from dlib.callbacks.performance import training_flops
from dlib.models.pretrained import draw_model, read_config
from dlib.process.errors import TRAINING_ERROR_STATUS, UserError, run_script
from dlib.training.devices import known_peak

FEWEST_STEPS = 4
BF16_CAPABILITY = 8
"""Compute capability (Ampere) from which on a GPU multiplies in bfloat16."""
PRODUCT_WIDTH = {"cpu": 256, "cuda": 8192}
TERA = 1e12


@dataclass(frozen=True)
class Task:
    """What a GPU is given to train.

    Attributes:
        model_type: of the network.
        vocab_size: number of tokens.
        rows: rows of an optimizer step.
        length: tokens of a row.
        target_share: target tokens of a token.
    """

    model_type: str
    vocab_size: int
    rows: int
    length: int
    target_share: float


TASKS = {"mlm": Task("roberta", 50265, 64, 512, 0.15), "clm": Task("gpt2", 50257, 32, 1024, 1023 / 1024)}


@dataclass(frozen=True)
class Peak:
    """FLOP/s that a device could do at best in bfloat16, and who says so."""

    flops: float
    source: str


def trainers_of(objective: str, rows: int) -> list[str]:
    """Who trains, what matters most first: the time may run out."""
    best = f"{OURS} --micro_batch_size {rows} --compile"
    names = [OURS, "trainer", "plain_compiled", best, "trainer_compiled", "plain_liger", "trainer_best"]
    return [name for name in names if objective == "clm" or name != "plain_liger"]


def build_workload(objective: str, folder: str, options: argparse.Namespace) -> Workload:
    """What is trained: the real size on a GPU, or a toy on the CPU."""
    task = TASKS[objective]
    sizes = task.vocab_size, options.rows or task.rows, task.length, options.steps
    workload = Workload(objective, folder, "base", *sizes, model_type=task.model_type, precision="bf16-mixed")
    if options.toy:
        return replace(workload, size="tiny", vocab_size=300, rows=options.rows or 4, length=16, steps=FEWEST_STEPS)
    return replace(workload, accelerator="cuda")


def choose_device(*, toy: bool) -> torch.device:
    """The GPU, or for a toy the CPU.

    Raises:
        UserError: there is no GPU, or none that computes in bfloat16.
    """
    if toy:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("benchmarks.gpu: torch finds no CUDA GPU here; run it where one is, or small on the CPU: --toy")
    if torch.cuda.get_device_capability()[0] < BF16_CAPABILITY:
        name = torch.cuda.get_device_name()
        raise UserError(f"benchmarks.gpu: {name} has no bfloat16; run it on an Ampere GPU or a newer one")
    return torch.device("cuda")


def find_peak(device: torch.device) -> Peak:
    """What the device could do: by its data sheet where that is known, else measured."""
    known = known_peak(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    if known is not None:
        return Peak(known, "its data sheet")
    width = PRODUCT_WIDTH[device.type]
    return Peak(measure_product(device, width), f"a measured product of two {width:,} x {width:,} matrices")


def measure_product(device: torch.device, width: int) -> float:
    """FLOP/s of a product of two square matrices in bfloat16."""
    matrix = torch.randn(width, width, device=device, dtype=torch.bfloat16)
    timer = Timer("matrix @ matrix", globals={"matrix": matrix})  # it waits for the GPU
    return 2 * width**3 / timer.blocked_autorange(min_run_time=0.5).median


def needed_flops(workload: Workload, target_share: float) -> float:
    """FLOP that a token of a row needs in training, its share of the target tokens included."""
    config = read_config(str(workload.model), trust_remote_code=False)
    with torch.device("meta"):
        model = draw_model(workload.auto_model, config, trust_remote_code=False)
    per_token, per_target = training_flops(model, Fraction(workload.length))
    return per_token + target_share * per_target


def variables(workload: Workload) -> Mapping[str, str]:
    """The environment of a training: one GPU, as the Trainer takes all that it sees; a toy is not worth compiling."""
    if not workload.is_on_gpu:
        return {"TORCH_COMPILE_DISABLE": "1"}
    return {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}


def measure_one(name: str, workload: Workload, deadline: float) -> Result | None:
    """Train with one of them until `deadline`, a time of `time.monotonic`; None, and a line, where that fails."""
    left = deadline - time.monotonic()
    if left <= 0:
        print(f"{name}: not measured, the time is up; --minutes gives more", flush=True)
        return None
    print(f"{workload.objective}: {name}", file=sys.stderr, flush=True)
    try:
        return measure_any(name, workload, variables=variables(workload), most_seconds=left)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        print(f"{name}: not measured, it failed: {str(error).splitlines()[-1]}", flush=True)
        return None


def measure(workload: Workload, rounds: int, deadline: float) -> dict[str, list[Result | None]]:
    """Train with each in turn, as often as asked; who is missing is told, and left out."""
    names = [name for name in trainers_of(workload.objective, workload.rows) if not tell_missing(name)]
    measured: dict[str, list[Result | None]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, results in measured.items():
            results.append(measure_one(name, workload, deadline))
    return measured


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objectives", nargs="*", metavar="objective", help=f"of {', '.join(TASKS)}; none: all")
    rows = ", ".join(f"{name} {task.rows}" for name, task in TASKS.items())
    parser.add_argument("--rows", type=int, help=f"rows of an optimizer step ({rows})")
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps of a training (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="trainings with each (%(default)s)")
    parser.add_argument("--minutes", type=float, default=9.5, help="time that all may take (%(default)s)")
    parser.add_argument("--toy", action="store_true", help="small, in 4 steps, on the CPU: does every path run?")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where all figures go, as JSON")
    options = parser.parse_args(words)
    if unknown := set(options.objectives) - set(TASKS):
        parser.error(f"no objective {', '.join(unknown)}; there are {', '.join(TASKS)}")
    if options.steps < FEWEST_STEPS:
        parser.error(f"--steps {options.steps}: give at least {FEWEST_STEPS}, as the first ones are not measured")
    return options


def main() -> int:
    """Measure, print, write; 1 where a training failed."""
    options = parse()
    deadline = time.monotonic() + 60 * options.minutes
    device = choose_device(toy=options.toy)
    peak = find_peak(device)
    measured, tasks, has_failed = {}, {}, False
    for objective in options.objectives or TASKS:
        with tempfile.TemporaryDirectory() as folder:
            workload = build_workload(objective, folder, options)
            run(["-m", "benchmarks.trainer_parts.peers", "prepare"], workload)
            flops = needed_flops(workload, TASKS[objective].target_share)
            found = measure(workload, options.rounds, deadline)
        whole = {name: [result for result in results if result] for name, results in found.items()}
        measured[objective] = {name: results for name, results in whole.items() if results}
        tasks[objective] = {**asdict(workload), "flops_per_token": flops}
        has_failed |= any(None in results for results in found.values())
        print("\n".join(table(objective, measured[objective], flops / peak.flops)), flush=True)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, {peak.flops / TERA:,.1f} TFLOP/s by {peak.source}; {machine()}; {time.strftime('%Y-%m-%d')}")
    if options.output is not None:
        write_report(options.output, measured, gpu=name, peak=asdict(peak), tasks=tasks)
    return TRAINING_ERROR_STATUS if has_failed else 0


if __name__ == "__main__":
    run_script(main)
