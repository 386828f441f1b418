"""The optimizers."""

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from dlib.args import OptimArgs
from dlib.args.tables import OPTIMIZERS, load
from dlib.process.errors import UserError
from dlib.process.versions import fused_devices
from dlib.training.parameter_groups import Group, parameter_groups


def build_optimizer(model: nn.Module, args: OptimArgs, *, fused: bool, further: nn.Module | None = None) -> Optimizer:
    """The optimizer of `--optimizer` over the weights that learn, those of `further` networks of the objective too.

    Its function in OPTIMIZERS takes their groups (`parameter_groups`), whose `lr` is the peak of the group's schedule.
    AdamW's `fused` kernel is one launch for all weights.

    Raises:
        UserError: the optimizer, or rates by layer, are not for such a model.
    """
    build = load(OPTIMIZERS[args.optimizer].implementation)
    optimizer: Optimizer = build(parameter_groups(model, args, further), args, model=model, fused=fused)
    return optimizer


def build_adamw(groups: list[Group], args: OptimArgs, *, model: nn.Module, fused: bool) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019)."""
    return AdamW(groups, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon, fused=fused)


def build_sgd(groups: list[Group], args: OptimArgs, *, model: nn.Module, fused: bool) -> Optimizer:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013); weight decay is part of the gradient.

    Raises:
        UserError: Nesterov's look ahead without momentum.
    """
    if args.sgd_nesterov and args.sgd_momentum == 0:
        raise UserError("--sgd_nesterov: it looks ahead along the momentum, and --sgd_momentum is 0; leave one out")
    return SGD(groups, momentum=args.sgd_momentum, nesterov=args.sgd_nesterov)


def build_adafactor(groups: list[Group], args: OptimArgs, *, model: nn.Module, fused: bool) -> Optimizer:
    """Adafactor (Shazeer and Stern 2018), which keeps a row and a column of means for a matrix."""
    return torch.optim.Adafactor(groups, beta2_decay=args.adafactor_beta2_decay, d=args.adafactor_clip)


def has_fused_kernel(device: torch.device, precision: str) -> bool:
    """Whether AdamW has a fused kernel there that leaves room for gradient clipping.

    With a loss scale (16-mixed) the fused kernel unscales by itself, after the norm would be taken.
    """
    return device.type in fused_devices() and precision != "16-mixed"
