"""`--distributed_strategy fsdp`: a process holds a part of weights, of gradients, and of what the optimizer keeps.

Zhao et al. 2023, "PyTorch FSDP", in torch's second form (`fully_shard`), which also runs on CPUs. Lightning's
FSDPStrategy takes the first form, which has no CPU; its ModelParallelStrategy saves and loads checkpoints of its own.
So Lightning's part here is what it is for `--exact_reduce`: processes, devices, and nothing around the module.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch.distributed as dist
from torch import nn

from dlib.process.errors import UserError
from dlib.training.deepspeed import gathered
from dlib.training.devices import Devices
from dlib.training.parameter_groups import numbered_layers
from dlib.training.strategies import COLLECTIVE_TIMEOUT, Parted


class Sharded(Parted):
    """Processes that share the weights of the module, a layer at a time whole."""

    def configure_ddp(self) -> None:
        """Cut the weights, in place of wrapping the module; the optimizer is built of the parts after it."""
        shard(cast(nn.Module, self.lightning_module), self.root_device.type)

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Block nothing: gradients that are whole until the last micro-batch would take what the parts save."""
        yield


def build_fsdp(devices: Devices, *, exact_reduce: bool) -> Sharded:
    """The strategy; `--exact_reduce` is refused before (`check_strategy`)."""
    return Sharded(timeout=COLLECTIVE_TIMEOUT)


def shard(module: nn.Module, device_type: str) -> None:
    """Cut the weights of all networks of a module; a layer's are whole while it computes, all others in a micro-batch.

    The module itself is the outermost of what is cut, and not its model: so whatever an objective does in `forward`
    finds the weights outside of layers whole, also those that two networks share.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device_type, (dist.get_world_size(),))
    parts: list[Any] = [*separate_layers(module), module]
    for part in parts:
        fully_shard(part, mesh=mesh)
    # What comes next in a backward pass is said, and not left to the newest forward passes: after an evaluation these
    # differ where a process had no rows, and each would wait for another gathering of weights.
    for part, next_one in zip(parts, [module, *parts[:-1]], strict=True):
        part.set_modules_to_backward_prefetch([next_one] if next_one is not part else [])
    for part in sharded_parts(module):
        # gloo adds up where it is asked for a mean (pytorch issue 162338): so it adds up, and FSDP divides.
        part.set_force_sum_reduction_for_comms(True)


def separate_layers(module: nn.Module) -> list[nn.Module]:
    """The layers that share no weight with anything outside of them."""
    layers = [layer for layers in numbered_layers(module) for layer in layers if any(True for _ in layer.parameters())]
    owners: dict[nn.Parameter, set[nn.Module]] = {}
    for owner in (*layers, *outside(module, layers)):
        for parameter in owner.parameters(recurse=owner in layers):
            owners.setdefault(parameter, set()).add(owner)
    return [layer for layer in layers if all(owners[parameter] == {layer} for parameter in layer.parameters())]


def outside(module: nn.Module, layers: list[nn.Module]) -> list[nn.Module]:
    """All parts of a module that are in none of the layers."""
    inside = {part for layer in layers for part in layer.modules()}
    return [part for part in module.modules() if part not in inside]


def sharded_parts(module: nn.Module) -> list[Any]:
    """The parts of a module whose weights are cut together, the module itself first; none without FSDP."""
    return [part for part in module.modules() if hasattr(part, "set_force_sum_reduction_for_comms")]


def refuse_unused_weights(module: nn.Module) -> None:
    """Refuse weights in shards that the newest backward pass did not use, the same one in all processes.

    Processes wait for each other's share of every gradient. What some step leaves out later, an expert without tokens
    for one, has a gradient of zeros in it.

    Raises:
        UserError: there are some.
    """
    parts = sharded_parts(module)
    unused = [name for name, weight in module.named_parameters() if weight.requires_grad and weight.grad is None]
    if parts and unused:
        raise UserError(
            f"--distributed_strategy fsdp: the model has weights that a step does not use, first {unused[0]}; "
            "give ddp_find_unused"
        )
    for part in parts:
        part.set_reduce_scatter_unused_params(True, recurse=False)


@contextmanager
def computing_whole(module: nn.Module) -> Iterator[None]:
    """Within it every process has all weights, and computes with them without waiting for any other.

    An evaluation needs it: processes have unequal numbers of batches there. The memory is that of the weights alone.
    """
    parts = sharded_parts(module)
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        with gathered(module):
            yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(part is not module, recurse=False)
            part.reshard()
