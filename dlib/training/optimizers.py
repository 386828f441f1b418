"""The optimizer and the learning rate as a pure function of the step, so that no schedule needs saving."""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import AdamW

from dlib.args import OptimArgs
from dlib.process.versions import fused_devices
from dlib.training.plan import TrainingPlan


def build_optimizer(named_parameters: Iterable[tuple[str, nn.Parameter]], args: OptimArgs, *, fused: bool) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019) over the weights that learn, with decay on matrices only.

    Args:
        named_parameters: the model's, already on their device.
        args: the optimizer's arguments.
        fused: take the fused kernel, one launch for all weights.
    """
    learning = [parameter for _, parameter in named_parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": args.weight_decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=args.learning_rate,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
        fused=fused,
    )


def has_fused_kernel(device: torch.device, precision: str) -> bool:
    """Whether AdamW has a fused kernel there that leaves room for gradient clipping.

    With a loss scale (16-mixed) the fused kernel unscales by itself, after the norm would be taken.
    """
    return device.type in fused_devices() and precision != "16-mixed"


def learning_rate_at(step: int, args: OptimArgs, plan: TrainingPlan) -> float:
    """Learning rate of optimizer step `step`, counted from 0: warm-up, then the schedule's shape.

    Sources: cosine, Loshchilov and Hutter 2017 (SGDR), equation 5; WSD, Hu et al. 2024 (MiniCPM),
    section 4; inverse square root, Vaswani et al. 2017, section 5.3, scaled to reach the peak at the
    end of the warm-up.
    """
    peak, floor = args.learning_rate, args.min_learning_rate_ratio
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
