"""How many sequences a forward pass takes where nobody says so (`--micro_batch_size auto`): what is gained, and fits.

It is worked out and not tried: of the network without memory, its rows and the size of the device alone. So `--plan`
tells it, every process finds the same, nothing is drawn and no weight is touched, and the same command finds the
same again, whatever else the machine does at the moment.
"""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from copy import copy, deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from transformers import PreTrainedModel

from dlib.args import ExperimentArgs
from dlib.data.batching import largest_micro_batch_size
from dlib.data.packing import RowSource
from dlib.data.samples import Sample
from dlib.objectives.objective import Objective, learns
from dlib.training.devices import Devices

ENOUGH_TOKENS = {"cpu": 4096}
"""Tokens of a micro-batch past which a step gets no faster: each adds its gradient to that of all weights, which is
small beside so many tokens (docs/performance.md has the measurement)."""
ENOUGH_TOKENS_OF_A_GPU = 16_384
USABLE_SHARE = 0.5
"""Of a device's memory: the rest is for what is not counted, such as a kernel's own, and for others."""
BYTES_PER_WEIGHT = 16
"""The weight, its gradient and two means of the optimizer, in float32."""
BACKWARD = 2
"""What a forward pass keeps, and as much again for the gradients of it."""
ROWS_LOOKED_AT = 64


def choose_micro_batch_size(
    args: ExperimentArgs,
    devices: Devices,
    model: PreTrainedModel,
    objective: Objective,
    modules: nn.ModuleDict,
    rows: RowSource,
) -> int:
    """Rows of a forward pass: as many as there is something to gain from, fit into memory, and divide the step.

    Args:
        args: the experiment.
        devices: what it computes on.
        model: the network, on the device `meta`.
        objective: what it learns.
        modules: the objective's own networks.
        rows: of the training text.
    """
    enough = ENOUGH_TOKENS.get(devices.accelerator, ENOUGH_TOKENS_OF_A_GPU)
    longest, budget = args.data.max_length, args.batch.max_tokens_per_batch
    # With its padding, to the longest beside it: many rows of unlike lengths compute little else.
    length = longest if budget is not None else positions(model, longest_sample(rows))
    gained = math.ceil(enough / length)
    weights = sum(weight.numel() for network in (model, modules) for weight in network.parameters())
    room = (USABLE_SHARE * memory_bytes(devices) - BYTES_PER_WEIGHT * weights) / (BACKWARD * longest)
    kept = kept_bytes_per_token(model, objective, modules, rows, small=room / gained)
    # Where nothing is known of its memory: no more tokens than a small device takes.
    most = ENOUGH_TOKENS["cpu"] // longest if kept is None else room / kept
    step = args.batch.batch_size if budget is None else budget // longest
    return largest_micro_batch_size(step, devices.world_size, max(1, int(min(most, gained))))


def memory_bytes(devices: Devices) -> float:
    """Memory of a device; of a machine, or of a job on it, a process's share; of a GPU that is not here, no end."""
    if devices.accelerator == "cuda" and max(devices.indices) >= torch.cuda.device_count():
        return math.inf  # devices of a job, which are described
    if devices.accelerator == "cuda":
        return float(min(torch.cuda.get_device_properties(index).total_memory for index in devices.indices))
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(there, allowed_bytes()) / len(devices.indices)


def allowed_bytes(root: Path = Path("/")) -> float:
    """Memory that a job or a container has on this machine, by its control groups; no end where none limits it.

    Args:
        root: where `proc` and `sys` are.
    """
    limits = [math.inf]
    with suppress(OSError):  # not Linux
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            is_second = not controllers  # version of the groups
            if is_second or "memory" in controllers.split(","):
                name = "memory.max" if is_second else "memory.limit_in_bytes"
                group = root / "sys/fs/cgroup" / ("" if is_second else "memory") / path.lstrip("/")
                limits += [limit_of(folder / name) for folder in (group, *group.parents)]
    return min(limits)


def limit_of(file: Path) -> float:
    """The limit of a control group; none where the file is missing or says `max`."""
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return math.inf


def kept_bytes_per_token(
    model: PreTrainedModel, objective: Objective, modules: nn.ModuleDict, rows: RowSource, *, small: float = 0.0
) -> float | None:
    """What a forward pass keeps of a token for the backward pass, in bytes; None where that cannot be told.

    It is looked up in forward passes without memory, by what a second row adds to a first that is long among its like.
    A first that keeps no more than `small` bytes a token, weights included, is not looked at more closely.
    """
    if getattr(model.config, "_attn_implementation", None) == "flex_attention":
        return None  # it compiles itself, and what is compiled stays: a session that goes on would have other code
    sample = longest_sample(rows)
    own = copy(objective)
    try:
        own.modules = without_memory(modules)
        for module in own.modules.values():  # as `TrainingModule.train` does
            module.train(learns(module))
        one = kept_bytes(model.train(), own, [sample])
        if one <= small * sample.num_tokens:
            return one / sample.num_tokens
        return (kept_bytes(model, own, [sample] * 2) - one) / sample.num_tokens
    except Exception:  # whatever a network does that asks for the values of its tensors: there are none
        return None


def without_memory(modules: nn.ModuleDict) -> nn.ModuleDict:
    """Networks like these on the device `meta`; what they share, with a model that is there, too, is shared."""
    copies: dict[int, Any] = {}
    for tensor in chain(modules.parameters(), modules.buffers()):
        empty = tensor.detach().to("meta")
        learned = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
        copies[id(tensor)] = tensor if tensor.is_meta else learned
    return deepcopy(modules, copies)


def kept_bytes(model: PreTrainedModel, objective: Objective, samples: Sequence[Sample]) -> int:
    """What the forward pass of a micro-batch keeps for the backward pass, weights included, in bytes."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # views share their memory
        return tensor

    batch, network = objective.collate(samples), LossSum(model, objective)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, saved_tensors_hooks(keep, lambda tensor: tensor):
        # transformers knows such tensors, and asks for none of their values
        inputs = {name: mode.from_tensor(each.to("meta")) for name, each in batch.items()}
        loss = functional_call(network, fake_weights(network, mode), inputs)
        assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


class LossSum(nn.Module):
    """The sum of a micro-batch's losses, as a network that has the model's weights and those of the objective's own."""

    def __init__(self, model: PreTrainedModel, objective: Objective) -> None:
        super().__init__()
        self.model, self.own, self.objective = model, objective.modules, objective

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Ask the objective."""
        return self.objective.loss_sum(self.model, batch)


def fake_weights(network: nn.Module, mode: FakeTensorMode) -> dict[str, Tensor]:
    """Weights and buffers without memory as tensors of the mode, which works out once what layers of one shape do."""
    named = chain(network.named_parameters(), network.named_buffers())
    return {name: mode.from_tensor(tensor) for name, tensor in named if tensor.is_meta}


def positions(model: PreTrainedModel, sample: Sample) -> int:
    """Tokens of a row that a layer computes together: an encoder has those of the source, a decoder the target's."""
    return max(map(len, sample.sequences)) if model.config.is_encoder_decoder else sample.num_tokens


def longest_sample(rows: RowSource) -> Sample:
    """The longest of some rows, from all over the text."""
    numbers = range(0, len(rows), max(1, len(rows) // ROWS_LOOKED_AT))
    samples = (rows.sample(number, ("evaluation", number)) for number in numbers)
    return max(samples, key=lambda sample: sample.num_tokens)
