"""What of a run is allowed, and probably not meant: a line each, below its summary."""

from fractions import Fraction
from typing import TYPE_CHECKING

import torch

from dlib.args import ExperimentArgs
from dlib.data.mixture import MixedRows
from dlib.process.errors import printable
from dlib.training.plan import TrainingPlan

if TYPE_CHECKING:
    from dlib.data.packing import RowSource

MANY_EPOCHS = 100
LARGE_LEARNING_RATE = 0.1
MOVES_BY_THE_RATE = ("adamw", "adafactor", "muon")
"""Optimizers whose steps are as large as the learning rate says, however small a gradient is."""


def doubts(args: ExperimentArgs, plan: TrainingPlan, rows: "RowSource", accelerator: str) -> list[str]:
    """Warnings about a run that nothing forbids, whose precision is settled."""
    found = []
    times, name = max((times, name) for name, times in epochs(plan, rows).items())
    if times > MANY_EPOCHS and args.durations.early_stopping is None:
        found.append(
            f"--training_goal {args.durations.training_goal}: {name} is read {float(times):,.0f} times; "
            "a goal may be in epochs: '10 epochs'"
        )
    rate, optimizer = args.optim.learning_rate, args.optim.optimizer
    if rate > LARGE_LEARNING_RATE and optimizer in MOVES_BY_THE_RATE:
        found.append(f"--learning_rate {rate:g}: {optimizer} may move each weight by as much in a step; 0.001 is usual")
    precision = args.hardware.precision
    if precision == "bf16-true":
        found.append(
            "--precision bf16-true: weights have 8 bits, and the small steps of a low learning rate are lost; "
            + ("32-true keeps them, and is faster on a CPU" if accelerator == "cpu" else "bf16-mixed keeps them")
        )
    if precision == "bf16-mixed" and accelerator == "cpu" and not multiplies_in_bfloat16():
        found.append(
            "--precision bf16-mixed: torch cannot multiply in bfloat16 on this machine's CPU; "
            "32-true is many times as fast there"
        )
    return [printable(f"warning: {doubt}") for doubt in found]


def multiplies_in_bfloat16() -> bool:
    """Whether torch has matrix products of bfloat16 for this CPU; where not, it makes them number by number."""
    is_supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)  # torch 2.0 cannot tell
    return torch.backends.mkldnn.is_available() and bool(is_supported())


def epochs(plan: TrainingPlan, rows: "RowSource") -> dict[str, Fraction]:
    """How often a run reads each text."""
    samples = Fraction(plan.batches.total_samples)
    if not isinstance(rows, MixedRows):
        return {"the text": samples / len(rows)}
    return {
        name: samples * share / len(part) for name, part, share in zip(rows.names, rows.parts, rows.shares, strict=True)
    }
