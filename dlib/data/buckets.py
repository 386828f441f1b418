"""Steps of rows of like length within a budget of tokens: the plan of a run with `--max_tokens_per_batch`.

    rows --lengths.py--> an order by length, cut into batches; a batch is the rows of an optimizer step
    epoch, place = divmod(step, batches); batch = permutation of that epoch (place)
    a row of the batch's places: a permutation, of that epoch too, of the rows that have the same length

Which places a batch has is the same in every epoch, so an epoch has a fixed number of steps, and any step is found
in constant time. A batch is dealt out evenly to a fixed number of micro-batches, which processes share. Of texts with
weights a block of samples takes the place of the epoch, see blocks.py.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from dlib.data.batching import MicroBatch
from dlib.data.blocks import BlockOrder, order_blocks
from dlib.data.lengths import LengthOrder, order_by_length
from dlib.data.mixture import MixedRows
from dlib.data.packing import PackedRows, Rows
from dlib.data.permutation import permute
from dlib.process.errors import UserError
from dlib.process.seeding import derive_key


@dataclass(frozen=True, eq=False)
class BucketPlan:
    """All batches of a training run whose steps have about as many tokens."""

    of_like_lengths: ClassVar[bool] = True

    order: LengthOrder  # of the rows; with weights, of the places of a block, which then stands for an epoch here
    edges: np.ndarray  # where in the order each batch begins, and the end, (batches + 1,) int64
    budget: int  # tokens in an optimizer step, padding included, over all devices
    num_micro_batches: int  # of each step, over all devices; each has its share of the budget
    total_steps: int  # optimizer steps at which the training ends
    seed: int  # names the order of every epoch

    @property
    def num_samples(self) -> int:
        """Rows of all texts."""
        return self.order.num_rows

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return len(self.edges) - 1

    @cached_property
    def total_samples(self) -> int:
        """Samples of all steps."""
        return self.samples_before(self.total_steps)

    @cached_property
    def padding_share(self) -> float:
        """Padding among the tokens of an epoch, which is the same in every epoch; with weights, the most on average."""
        sizes, parts = np.diff(self.edges)[:, None], np.arange(self.num_micro_batches)
        edges = self.edges[:-1, None] + sizes * parts // self.num_micro_batches
        padded = self.order.padded_tokens(np.append(edges.ravel(), self.edges[-1]))
        return 1 - self.order.num_tokens / padded

    def samples_before(self, step: int) -> int:
        """Samples of all steps before a step, in the time that an epoch's steps take to be counted."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return epoch * len(self.order) + int(np.diff(self.edges)[self._batches(epoch, np.arange(place))].sum())

    def step_samples(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and numbers of the samples of a step in the order of their lengths: two (B,) int64.

        Raises:
            ValueError: there is no such step.
        """
        if not 0 <= step < self.total_steps:
            raise ValueError(f"step {step} is not in range({self.total_steps})")
        epoch, place = divmod(step, self.steps_per_epoch)
        batch = int(self._batches(epoch, np.array([place]))[0])
        first, last = self.edges[batch : batch + 2].tolist()
        return self.order.samples(first, last, epoch, self.seed)

    def micro_batches(self, step: int, rank: int, world_size: int) -> list[MicroBatch]:
        """The micro-batches of one rank, a contiguous block of those of the step.

        Each rank has the same number of them; of a batch of few rows some are empty.

        Raises:
            ValueError: there is no such step, or `check_token_budget` would have refused.
        """
        count, rest = divmod(self.num_micro_batches, world_size)
        if rest or not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size} has no whole part of {self.num_micro_batches}")
        epochs, numbers = self.step_samples(step)
        edges = len(numbers) * np.arange(self.num_micro_batches + 1) // self.num_micro_batches
        return [
            MicroBatch(index, epochs[edges[index] : edges[index + 1]], numbers[edges[index] : edges[index + 1]])
            for index in range(rank * count, (rank + 1) * count)
        ]

    def describe(self, world_size: int) -> str:
        """What a step is, in words, and how much of it is padding, counted over an epoch."""
        means = (number / self.steps_per_epoch for number in (len(self.order), self.order.num_tokens))
        has_weights = isinstance(self.order, BlockOrder)
        return (
            f"up to {self.budget:,} tokens a step = {self.budget // self.num_micro_batches:,} in a micro-batch x "
            f"{world_size} devices x {self.num_micro_batches // world_size} accumulation; "
            "on average {:,.1f} rows and {:,.0f} tokens; ".format(*means)
            + f"{'at most ' * has_weights}{self.padding_share:.1%} of what is computed is padding"
            + f"; each {self.steps_per_epoch:,} steps have the texts' shares" * has_weights
        )

    def _batches(self, epoch: int, places: np.ndarray) -> np.ndarray:
        return permute(places, self.steps_per_epoch, derive_key("order of batches", self.seed, epoch))


def cut_batches(rows: Rows, budget: int, num_micro_batches: int) -> tuple[LengthOrder, np.ndarray]:
    """Sort the rows of a training by length, or the places of a block where texts have weights, and cut batches.

    Returns:
        The order; and where in it each batch begins, and the end, (batches + 1,) int64.

    Raises:
        UserError: the rows are packed, or one does not fit into a micro-batch.
    """
    if any(isinstance(part, PackedRows) for part in (rows.parts if isinstance(rows, MixedRows) else [rows])):
        raise UserError("--max_tokens_per_batch: packed rows are of one length; leave it out, or add --line_by_line")
    order = order_blocks(rows) if isinstance(rows, MixedRows) and rows.weights else order_by_length(rows)
    share = budget // num_micro_batches
    if order.most_tokens > share:
        raise UserError(
            f"--max_tokens_per_batch {budget}: each of {num_micro_batches} micro-batches has {share} of them, and a "
            f"row has {order.most_tokens}; give {order.most_tokens * num_micro_batches}, or a larger --micro_batch_size"
        )
    return order, order.cut(budget, num_micro_batches)
