"""The gradient of an optimizer step: those of its micro-batches, forward and backward, added up over all processes.

It stands apart from the step, which says when this happens and what becomes of the sum.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dlib.process.seeding import seed_other_generators, seed_torch
from dlib.training.deepspeed import Engine
from dlib.training.step_logging import StepLogging
from dlib.training.tree_sum import TreeSum, add_over_processes, take_gradient


class GradientSums(StepLogging):
    """A module whose `forward` gives the losses of a micro-batch.

    Attributes:
        exact_reduce: whether gradients are added up in a tree.
        texts: names of the texts that have losses of their own.
    """

    exact_reduce: bool
    texts: Sequence[str]

    def accumulate(self, batch: dict[str, Any]) -> Tensor:
        """Leave a step's gradient in the weights; returns loss sums, see `TrainingModule.step_loss_sums`."""
        return self._accumulate_in_tree(batch) if self.exact_reduce else self._accumulate(batch)

    def _accumulate(self, batch: dict[str, Any]) -> Tensor:
        """Add up gradients as they come, DDP over the processes; returns the loss sums of this process."""
        loss_sums = self._zero_losses()
        for item in batch["micro_batches"]:
            with self._synchronizing(item is batch["micro_batches"][-1]):
                # DDP averages over processes, which their number undoes.
                loss_sums += self._backward(item, batch, self.trainer.world_size)
        return loss_sums

    def _accumulate_in_tree(self, batch: dict[str, Any]) -> Tensor:
        """Add up gradients in a tree over micro-batches and processes; returns the loss sums of all processes."""
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        tree = TreeSum(len(batch["micro_batches"]))
        for item in batch["micro_batches"]:
            losses = self._zero_losses() + self._backward(item, batch, 1)
            tree.add([losses, *map(take_gradient, learning)])
        total = tree.total()
        add_over_processes(total)
        for parameter, gradient in zip(learning, total[1:], strict=True):
            parameter.grad = gradient
        return total[0]

    def _backward(self, item: dict[str, Any], batch: dict[str, Any], factor: int) -> Tensor:
        """Compute the gradients of a micro-batch's share in the step's mean loss, times a factor.

        Dropout is drawn from a generator keyed by the micro-batch's index within the step, so that it is
        the same whichever process computes it, and whatever else was drawn before.

        Returns:
            Sum of the losses of its samples, and by text where there are several, (1 + texts,), without a gradient.
        """
        key = ("dropout", self.plan.batches.seed, batch["step"], item["index"])
        seed_torch(*key, begun_only=True)
        seed_other_generators(*key)
        strategy: Any = self.trainer.strategy
        compute = strategy.engine if isinstance(strategy, Engine) else self
        loss = compute(item["batch"])
        if not item["counts"]:
            loss = loss * 0
        self.manual_backward(loss.sum() * (factor / (batch["weight"] or 1)))
        return self._sums(loss.detach(), item)

    def _sums(self, loss: Tensor, item: dict[str, Any]) -> Tensor:
        """The sum of a micro-batch's loss, and by text where it has one for each row: (1 + texts,)."""
        if not self.texts:
            return loss[None]
        losses = loss.to(self._zero_losses().dtype)
        own = [torch.where(item["texts"] == text, losses, 0).sum() for text in range(len(self.texts))]
        return torch.stack([losses.sum(), *own])

    def _zero_losses(self) -> Tensor:
        dtype = torch.float64 if self.device.type != "mps" else None
        return torch.zeros(1 + len(self.texts), device=self.device, dtype=dtype)

    @contextmanager
    def _synchronizing(self, is_last: bool) -> Iterator[None]:
        """Exchange gradients between processes in the backward pass of the step's last micro-batch only."""
        counts_itself = isinstance(self.trainer.strategy, Engine)  # DeepSpeed's counts micro-batches, on one device too
        if is_last or (self.trainer.world_size == 1 and not counts_itself):
            yield
        else:
            with self.trainer.strategy.block_backward_sync():  # type: ignore[attr-defined]
                yield
