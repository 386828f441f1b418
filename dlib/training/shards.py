"""Weights in shards (`--distributed_strategy fsdp`): a process holds a part of each, and all together the whole.

A checkpoint is of whole tensors, so that any strategy and any number of processes goes on from it. What is whole passes
through here unchanged; what exchanges parts has to be called by all processes alike.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from dlib.process.packages import import_optional
from dlib.process.ranks import is_rank_zero

CONTAINERS = (dict, OrderedDict, list, tuple)
"""What a state is made of, besides tensors, numbers and texts."""


def is_sharded(tensor: Any) -> bool:
    """Whether this process has a part of it: torch's `DTensor`, or a weight that DeepSpeed has cut."""
    return hasattr(tensor, "full_tensor") or hasattr(tensor, "ds_id")


def whole(tensor: Tensor) -> Tensor:
    """The tensor of all processes; itself where it is whole."""
    if hasattr(tensor, "ds_id"):
        deepspeed = import_optional("deepspeed", "--distributed_strategy deepspeed_stage_3_offload")
        with deepspeed.zero.GatheredParameters([tensor]):
            return tensor.detach().clone()
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def whole_state(value: Any) -> Any:
    """A state (an optimizer's, a callback's) with whole tensors; those that were in shards on the CPU.

    The first process alone has them, as it alone saves them: a machine's memory need not hold one for each device.
    """

    def whole_or_same(tensor: Tensor) -> Tensor:
        if not is_sharded(tensor):
            return tensor
        full = whole(tensor.detach())
        return full.to("cpu", copy=True) if is_rank_zero() else full.new_empty(0)

    return with_tensors(value, whole_or_same)


def with_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A state with each of its tensors changed, in containers of its own."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) not in CONTAINERS:
        return value
    parts = [(name, with_tensors(part, change)) for name, part in value.items()] if isinstance(value, dict) else value
    return type(value)(parts if isinstance(value, dict) else (with_tensors(part, change) for part in parts))


def shard_as(value: Any, parameter: Tensor) -> Any:
    """This process's part of a whole value that belongs to a weight in shards; the value itself of any other.

    What has the weight's shape is cut as the weight is; of what is smaller, such as means over rows, all have all.
    """
    if not is_sharded(parameter) or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    from torch.distributed.tensor import Replicate, distribute_tensor

    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    cut = placements if value.shape == parameter.shape else [Replicate()] * mesh.ndim
    # All have read the same file, so none sends anything.
    return distribute_tensor(value.to(parameter.device), mesh, cut, src_data_rank=None)


def shard_optimizer_state(state: Mapping[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """The state of an optimizer over `parameters`, in its order, each of its tensors cut as its weight is."""
    cut = {
        number: {name: shard_as(value, parameters[number]) for name, value in kept.items()}
        for number, kept in state["state"].items()
    }
    return {**state, "state": cut}


def whole_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are in shards, by name, whole and on the CPU; in the first process, which saves them."""
    sharded = _sharded_weights(module)
    found: dict[nn.Parameter, nn.Parameter] = {}
    for weight in dict.fromkeys(sharded.values()):  # what is tied once
        full = whole(weight).detach()
        if is_rank_zero():
            found[weight] = nn.Parameter(full.cpu(), requires_grad=weight.requires_grad)
    return {name: found[weight] for name, weight in sharded.items() if weight in found}


@contextmanager
def replaced(module: nn.Module, weights: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Within it the networks of a module have `weights` in the place of their shards."""
    sharded = _sharded_weights(module)
    _put(module, weights)
    try:
        yield
    finally:
        _put(module, sharded)


def _sharded_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in module.named_parameters(remove_duplicate=False) if is_sharded(weight)}


def _put(module: nn.Module, weights: Mapping[str, nn.Parameter]) -> None:
    for name, weight in weights.items():
        owner, _, own_name = name.rpartition(".")
        setattr(module.get_submodule(owner), own_name, weight)
