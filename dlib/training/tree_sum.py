"""Sums of tensors in an order that is the same for any number of processes that is a power of two (`--exact_reduce`).

A floating-point sum depends on its order, and both accumulation and the usual exchange of gradients add up in an order
that follows from who computes what. Here the M micro-batches of an optimizer step are the leaves of a tree:

    M = 2^k x odd:  runs of `odd` neighbours, one after the other; then the runs' sums in pairs, pairs of pairs, ...

Each of 2^j processes holds M / 2^j neighbouring micro-batches, which is a whole subtree. What is left above it goes
by recursive doubling (Thakur, Rabenseifner and Gropp 2005, "Optimization of Collective Communication Operations in
MPICH", section 4.3): process r exchanges its sum with r ^ 1, then r ^ 2, r ^ 4, ..., and both partners add the same
two numbers, so that all processes end with the same bits.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class TreeSum:
    """Sums of one process's micro-batches, each a list of tensors; it holds at most log2(count) + 2 lists at a time."""

    def __init__(self, count: int) -> None:
        """Expect `count` lists."""
        self._run_length = count // (count & -count)
        self._num_added = 0
        self._subtrees: list[Sequence[Tensor]] = []

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Take the next micro-batch's tensors; they are the sum's own from now on."""
        if self._num_added % self._run_length:
            _add_to(self._subtrees[-1], tensors)
        else:
            self._subtrees.append(tensors)
        self._num_added += 1
        runs, rest = divmod(self._num_added, self._run_length)
        while rest == 0 and runs % 2 == 0:
            upper = self._subtrees.pop()
            _add_to(self._subtrees[-1], upper)
            runs //= 2

    def total(self) -> Sequence[Tensor]:
        """The sums, once all lists are added."""
        (total,) = self._subtrees
        return total


def add_over_processes(tensors: Sequence[Tensor]) -> None:
    """Add up each tensor over all processes, a power of two, in place; every process ends with the same bits."""
    if not (dist.is_available() and dist.is_initialized()):
        return
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        sums = _double_recursively(torch.cat([tensor.flatten() for tensor in alike]))
        # Copied back: views of one long tensor would start anywhere, and kernels add up in another order there.
        for tensor, part in zip(alike, sums.split([tensor.numel() for tensor in alike]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _double_recursively(sums: Tensor) -> Tensor:
    """Sum of a tensor (N,) over all processes."""
    received = torch.empty_like(sums)
    distance = 1
    while distance < dist.get_world_size():
        partner = dist.get_rank() ^ distance
        exchange = [dist.P2POp(dist.isend, sums, partner), dist.P2POp(dist.irecv, received, partner)]
        for work in dist.batch_isend_irecv(exchange):
            work.wait()
        sums += received
        distance *= 2
    return sums


def _add_to(sums: Sequence[Tensor], addends: Sequence[Tensor]) -> None:
    for total, addend in zip(sums, addends, strict=True):
        total += addend


def take_gradient(parameter: torch.nn.Parameter) -> Tensor:
    """A weight's gradient, which it no longer has then; zeros where the loss did not depend on it."""
    gradient, parameter.grad = parameter.grad, None
    return torch.zeros_like(parameter) if gradient is None else gradient
