"""What is cut apart and what stays together, and weights that a step does not use."""

import pytest
import torch
from torch import Tensor, nn

from dlib.process.errors import UserError
from dlib.process.versions import STRATEGIES, has
from dlib.training.sharding import refuse_unused_weights, separate_layers, shard
from dlib.training.shards import replaced, whole_weights
from tests.exactness.ranks import run_on_ranks

needs_fsdp = pytest.mark.skipif(not has(STRATEGIES["fsdp"]), reason="torch has no such FSDP")


class Stack(nn.Module):
    """Four layers, of which two share a weight and one has the head's; and an `idle` one that nothing calls."""

    def __init__(self, *, has_idle: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(5))
        self.head = nn.Linear(3, 3)
        self.layers[1].weight = self.layers[2].weight
        self.layers[3].weight = self.head.weight
        if has_idle:
            self.idle = nn.Linear(3, 3)

    def forward(self, values: Tensor) -> Tensor:
        for layer in self.layers:
            values = layer(values)
        found: Tensor = self.head(values)
        return found


def test_layers_that_share_a_weight_stay_with_what_is_outside_of_layers() -> None:
    stack = Stack()
    assert separate_layers(stack) == [stack.layers[0], stack.layers[4]]


@needs_fsdp
def test_whole_weights_are_those_that_were_cut_and_go_back() -> None:
    first, second = run_on_ranks(cut_and_gather, 2)
    state = Stack().state_dict()
    assert first.keys() == state.keys()
    assert all(first[name].equal(state[name]) for name in state)
    assert second == {}


def cut_and_gather(rank: int, world_size: int) -> dict[str, Tensor]:
    """The state of a module in shards, as the first rank would save it."""
    stack = Stack()
    shard(stack, "cpu")
    parts = dict(stack.named_parameters())
    weights = whole_weights(stack)
    with replaced(stack, weights):
        assert not weights or stack.layers[1].weight is stack.layers[2].weight
        state = {name: tensor.clone() for name, tensor in stack.state_dict().items()} if weights else {}
    assert all(weight is parts[name] for name, weight in stack.named_parameters())
    return state


@needs_fsdp
def test_weights_that_a_step_does_not_use_are_refused_in_every_process() -> None:
    told = run_on_ranks(use_all_but_one, 2)
    message = "--distributed_strategy fsdp: the model has weights that a step does not use, first idle.weight; give ddp"
    assert [said.startswith(message) for said in told] == [True, True]


def use_all_but_one(rank: int, world_size: int) -> str:
    """What is told of a module with an idle layer."""
    stack = Stack(has_idle=True)
    shard(stack, "cpu")
    stack(torch.ones(2, 3)).sum().backward()
    try:
        refuse_unused_weights(stack)
    except UserError as error:
        return str(error)
    return ""
