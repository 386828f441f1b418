"""How several processes share the work of a step: the entries of STRATEGIES that keep whole weights in each.

It stands apart from the trainer because a strategy may be anybody's: a function here or in a file of its own, and a
line in `dlib/args/tables.py`.
"""

from datetime import timedelta
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch.nn.parallel import DistributedDataParallel

from dlib.training.devices import Devices

COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""How long processes wait for each other: longer than a checkpoint of a large model on a slow disk."""


class Wrapped(DDPStrategy):
    """DDP that sends no masks when training begins: they are the same everywhere, and torch 2.0 cannot send truths."""

    def configure_ddp(self) -> None:
        """Name the buffers of truth values to DDP before it wraps the module."""
        module = cast(pl.LightningModule, self.lightning_module)
        masks = [name for name, buffer in module.named_buffers() if buffer.dtype == torch.bool]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, masks)
        super().configure_ddp()


class Unwrapped(DDPStrategy):
    """Processes without DDP's exchange of gradients: `TrainingModule` does it itself, in a fixed order."""

    def configure_ddp(self) -> None:
        """Leave the module as it is. All processes draw or load the same weights, so none are sent."""


class Parted(Unwrapped):
    """Processes of which each has parts of what trains; a subclass cuts them."""

    def teardown(self) -> None:
        """End without moving the parts to the CPU, as Lightning's own strategies of this kind do."""
        for part in (self.cluster_environment, self.precision_plugin, self.accelerator):
            cast(Any, part).teardown()


def build_auto(devices: Devices, *, exact_reduce: bool) -> Strategy | str:
    """DDP where there are several processes."""
    return "auto" if devices.world_size == 1 else build_ddp(devices, exact_reduce=exact_reduce)


def build_ddp(devices: Devices, *, exact_reduce: bool, find_unused: bool = False) -> Strategy:
    """Each process has all weights; gradients are averaged as they come, or with `exact_reduce` by our own tree."""
    if exact_reduce:
        return Unwrapped(timeout=COLLECTIVE_TIMEOUT)
    return Wrapped(find_unused_parameters=find_unused, gradient_as_bucket_view=True, timeout=COLLECTIVE_TIMEOUT)


def build_ddp_find_unused(devices: Devices, *, exact_reduce: bool) -> Strategy:
    """The same, for models with weights that a step does not use."""
    return build_ddp(devices, exact_reduce=exact_reduce, find_unused=True)
