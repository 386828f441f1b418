"""Sums in a tree: the same bits however the leaves are shared out, and no other sum."""

import math

import pytest
import torch
from torch import Tensor

from dlib.training.tree_sum import TreeSum


def leaves(count: int) -> list[list[Tensor]]:
    """Numbers of very different sizes, whose sum depends on its order."""
    generator = torch.Generator().manual_seed(count)
    sizes = 10.0 ** torch.randint(-4, 5, (count, 50), generator=generator)
    return [[values * size] for values, size in zip(torch.randn(count, 50, generator=generator), sizes, strict=True)]


def total(lists: list[list[Tensor]]) -> Tensor:
    """The sum as one process computes it."""
    tree = TreeSum(len(lists))
    for tensors in lists:
        tree.add([tensor.clone() for tensor in tensors])
    return tree.total()[0]


@pytest.mark.parametrize("count", [4, 8, 12, 20, 32, 48])
@pytest.mark.parametrize("world_size", [2, 4])
def test_shares_of_processes_add_up_in_pairs_to_the_bits_of_one_process(count: int, world_size: int) -> None:
    lists, share = leaves(count), count // world_size
    sums = [total(lists[rank * share :][:share]) for rank in range(world_size)]
    while len(sums) > 1:
        sums = [lower + upper for lower, upper in zip(sums[::2], sums[1::2], strict=True)]
    assert sums[0].equal(total(lists))


def test_the_sum_in_another_order_has_other_bits() -> None:
    lists = leaves(32)
    one_after_the_other = torch.stack([tensors[0] for tensors in lists]).cumsum(0)[-1]
    assert not one_after_the_other.equal(total(lists))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 9, 32, 40])
def test_every_leaf_counts_once(count: int) -> None:
    exact = [math.fsum(values) for values in torch.stack([t[0].double() for t in leaves(count)]).T.tolist()]
    assert total([[tensors[0].double()] for tensors in leaves(count)]).tolist() == pytest.approx(exact, rel=1e-9)


def test_few_partial_sums_are_held_at_a_time() -> None:
    tree = TreeSum(64)
    held = []
    for tensors in leaves(64):
        tree.add(tensors)
        held.append(len(tree._subtrees))
    assert max(held) <= 7
