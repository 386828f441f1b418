"""The learning rate as a pure function of the step, so that no schedule needs saving.

Without torch, as a new goal is checked by it before the libraries are imported.
"""

import math
from typing import Protocol

from dlib.args import OptimArgs


class ScheduleLengths(Protocol):
    """What a schedule reads of a plan, in optimizer steps."""

    @property
    def total_steps(self) -> int:
        """Of the whole run."""

    @property
    def warmup_steps(self) -> int:
        """Until the peak."""

    @property
    def decay_steps(self) -> int:
        """Of the WSD schedule's decay, at the end."""


def learning_rate_at(step: int, peak: float, args: OptimArgs, plan: ScheduleLengths) -> float:
    """Learning rate of optimizer step `step`, counted from 0: warm-up to `peak`, then the schedule's shape.

    Sources: cosine, Loshchilov and Hutter 2017 (SGDR), equation 5; WSD, Hu et al. 2024 (MiniCPM),
    section 4; inverse square root, Vaswani et al. 2017, section 5.3, scaled to reach the peak at the
    end of the warm-up.
    """
    floor = args.min_learning_rate_ratio
    if step < plan.warmup_steps:
        return peak * (step + 1) / plan.warmup_steps
    remaining = 1 - (step - plan.warmup_steps) / max(1, plan.total_steps - plan.warmup_steps)
    if args.schedule == "linear":
        return peak * (floor + (1 - floor) * remaining)
    if args.schedule == "cosine":
        return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * (1 - remaining))) / 2)
    if args.schedule == "wsd":
        decay_steps = min(plan.decay_steps, plan.total_steps - plan.warmup_steps)
        decay_left = min(1.0, (plan.total_steps - step) / max(1, decay_steps))
        return peak * (floor + (1 - floor) * decay_left)
    if args.schedule == "inverse_sqrt":
        return peak * math.sqrt(max(1, plan.warmup_steps) / max(1, step + 1))
    return peak
