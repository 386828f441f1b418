"""Muon, which is for matrices of layers, together with AdamW for the rest, as one optimizer."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dlib.args import OptimArgs
from dlib.process.errors import UserError
from dlib.training.optimizers import build_adamw
from dlib.training.parameter_groups import Group, layer_matrices, split_groups


class Chained(Optimizer):
    """Optimizers over different weights, as one: their groups in a list, one state to save, one step."""

    def __init__(self, *parts: Optimizer) -> None:
        """Take over the groups of `parts`, in their order."""
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a loaded state; torch puts new groups and a new state in the place of the old."""
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Let each part work on its own of the groups, and on the state of all."""
        groups = iter(self.param_groups)
        for part in self.parts:
            own = list(islice(groups, len(part.param_groups)))
            part.__setstate__({"state": self.state, "param_groups": own})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Compute the gradients by `closure`, if given, and let each part do its step; returns what `closure` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss


def build_muon(groups: list[Group], args: OptimArgs, *, model: nn.Module, fused: bool) -> Optimizer:
    """Muon (Jordan et al. 2024) for the matrices of the layers, AdamW for all other weights.

    Its updates are scaled to the size of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2),
    so that both take the same learning rate and weight decay.

    Raises:
        UserError: no matrix of a layer learns.
    """
    matrices, others = split_groups(groups, layer_matrices(model))
    if not matrices:
        raise UserError(f"--optimizer muon: in {type(model).__name__} no matrix of a numbered layer learns; use adamw")
    muon = torch.optim.Muon(matrices, momentum=args.muon_momentum, adjust_lr_fn="match_rms_adamw")
    return Chained(muon, build_adamw(others, args, model=model, fused=fused)) if others else muon
