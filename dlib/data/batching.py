"""The batch plan: which samples, of which epoch, are in which micro-batch of which optimizer step.

It stands apart because it is all the state that reading data has: a pure function of (seed, step), so
that a run goes on at any step by arithmetic, and of nothing else, so that neither the number of workers
nor that of devices changes what is learned from. The words:

    batch_size = micro_batch_size x devices x nodes x accumulation    samples of an optimizer step
    global sample number g = step * batch_size + place in the step
    epoch, position = divmod(g, num_samples); sample = permutation of that epoch (position)
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from dlib.data.mixture import Mixture, shuffled
from dlib.process.errors import UserError


@dataclass(frozen=True)
class MicroBatch:
    """The samples of one forward pass of one device, possibly none at the end of the training."""

    index: int  # place within the global step, the same whichever device computes it
    epochs: np.ndarray  # epoch of each sample, (B,) int64
    sample_ids: np.ndarray  # number of each sample, (B,) int64


class StepPlan(Protocol):
    """Which samples each step of a run takes: as many in each (`BatchPlan`), or those of like length (`BucketPlan`).

    All that reads a plan reads this.
    """

    of_like_lengths: ClassVar[bool]
    """Whether the rows of a micro-batch were chosen for that."""

    @property
    def seed(self) -> int:
        """Names the order of every epoch, and whatever else is drawn in the run."""

    @property
    def num_samples(self) -> int:
        """Samples in an epoch."""

    @property
    def total_steps(self) -> int:
        """Number of optimizer steps."""

    @property
    def total_samples(self) -> int:
        """Samples of all of them."""

    def samples_before(self, step: int) -> int:
        """Samples of all steps before a step, or before the end."""

    def step_samples(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and numbers of the samples of a step: two (B,) int64; raises `ValueError` where there is no step."""

    def micro_batches(self, step: int, rank: int, world_size: int) -> list[MicroBatch]:
        """The micro-batches of one rank, a contiguous block of those of the step; each rank has as many."""

    def describe(self, world_size: int) -> str:
        """What a step is, in words."""


@dataclass(frozen=True)
class BatchPlan:
    """All batches of a training run whose steps have one number of samples."""

    of_like_lengths: ClassVar[bool] = False

    num_samples: int  # samples in an epoch, which are the rows of all texts
    batch_size: int  # samples in an optimizer step, over all devices
    micro_batch_size: int  # samples in a forward pass of one device
    total_samples: int  # samples at which the training ends; the last step may be partial
    seed: int  # names the order of every epoch
    mixture: Mixture | None = None  # whose turn each sample is, where several texts have weights

    @property
    def total_steps(self) -> int:
        """Number of optimizer steps, a partial last one included."""
        return -(-self.total_samples // self.batch_size)

    def samples_before(self, step: int) -> int:
        """Samples of all steps before a step."""
        return min(step * self.batch_size, self.total_samples)

    def describe(self, world_size: int) -> str:
        """What a step is, in words."""
        accumulation = self.batch_size // (self.micro_batch_size * world_size)
        return (
            f"{self.batch_size} sequences a step = {self.micro_batch_size} micro_batch_size x {world_size} devices x "
            f"{accumulation} accumulation"
        )

    def step_samples(self, step: int, first: int = 0, last: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and numbers of the samples at places `first` up to `last` of a step, or all: two (B,) int64.

        They are fewer at the last step.

        Raises:
            ValueError: there is no such step.
        """
        if not 0 <= step < self.total_steps:
            raise ValueError(f"step {step} is not in range({self.total_steps})")
        start = step * self.batch_size
        stop = min(start + (self.batch_size if last is None else last), self.total_samples)
        numbers = np.arange(start + first, max(start + first, stop), dtype=np.int64)
        if self.mixture is not None:
            return self.mixture.samples(numbers, self.seed)
        return shuffled(numbers, self.num_samples, self.seed)

    def micro_batches(self, step: int, rank: int, world_size: int) -> list[MicroBatch]:
        """The micro-batches of one rank, a contiguous block of those of the step, in order.

        Each rank has the same number of them, also at a partial last step, where some are short or
        empty, so that ranks which wait for each other after each one never wait in vain.

        Raises:
            ValueError: there is no such step, or `check_batch_arithmetic` would have refused.
        """
        accumulation, rest = divmod(self.batch_size, self.micro_batch_size * world_size)
        if rest or not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size} has no whole micro-batches in {self}")
        first = rank * accumulation
        size = self.micro_batch_size
        epochs, sample_ids = self.step_samples(step, first * size, (first + accumulation) * size)
        return [
            MicroBatch(first + number, epochs[number * size :][:size], sample_ids[number * size :][:size])
            for number in range(accumulation)
        ]


def eval_batches(num_samples: int, batch_size: int, rank: int, world_size: int) -> list[np.ndarray]:
    """Sample numbers of the evaluation batches of one rank, each (B,) int64.

    Each sample is in one batch of one rank. The batches are the same for any number of ranks, which
    take them in turn; a rank may have one more than another, or none.
    """
    starts = range(rank * batch_size, num_samples, world_size * batch_size)
    return [np.arange(start, min(start + batch_size, num_samples), dtype=np.int64) for start in starts]


def check_batch_arithmetic(batch_size: int, micro_batch_size: int | None, devices: int | None, nodes: int) -> None:
    """Check that batch_size = micro_batch_size x devices x nodes x accumulation.

    Args:
        batch_size: samples in an optimizer step, over all devices.
        micro_batch_size: samples in a forward pass of one device; None: to be chosen.
        devices: number of devices a node; None where it is not known yet: what fits no number of them is refused.
        nodes: number of machines.

    Raises:
        UserError: it does not hold for any whole accumulation.
    """
    world_size = (devices or 1) * nodes
    if batch_size % (world_size * (micro_batch_size or 1)):
        raise UserError(_refusal(batch_size, micro_batch_size, devices, nodes))


def check_token_budget(
    budget: int, max_length: int, micro_batch_size: int | None, devices: int | None, nodes: int
) -> None:
    """Check the same of a step of at most `budget` tokens: the rows of `max_length` that it holds are its batch size.

    Raises:
        UserError: it holds none, or they cannot be shared out.
    """
    flag, unit = f"--max_tokens_per_batch {budget}", (devices or 1) * nodes * (micro_batch_size or 1)
    rows = budget // max_length
    if rows == 0:
        raise UserError(f"{flag} holds no row of --max_length {max_length}; give at least {unit * max_length}")
    if rows % unit:
        product = _product(micro_batch_size, devices, nodes)
        advice = " or ".join(str(size * max_length) for size in _multiples(rows, unit))
        raise UserError(
            f"{flag} holds {rows} rows of --max_length {max_length}, no multiple of {product}; give {advice}"
        )


def largest_micro_batch_size(batch_size: int, world_size: int, most: int) -> int:
    """The largest number of samples up to `most`, at least 1, that processes can share a step in.

    Where four processes, or two, can share it in a size that is at least half as large, that is taken: a run can then
    go on with them.
    """
    sizes = [
        next(size for size in range(min(most, batch_size // share), 0, -1) if batch_size % (share * size) == 0)
        for share in (math.lcm(world_size, 4), math.lcm(world_size, 2), world_size)
        if batch_size % share == 0
    ]
    return next(size for size in sizes if 2 * size >= sizes[-1])


def _refusal(batch_size: int, micro_batch_size: int | None, devices: int | None, nodes: int) -> str:
    """What does not divide, and the nearest values that do."""
    world_size = (devices or 1) * nodes
    sizes = _multiples(batch_size, world_size * (micro_batch_size or 1))
    advice = "give --batch_size " + " or ".join(map(str, sizes))
    if micro_batch_size is not None and batch_size % world_size == 0:
        sizes = _nearest_divisors(batch_size // world_size, micro_batch_size)
        advice += ", or --micro_batch_size " + " or ".join(map(str, sizes))
    product = _product(micro_batch_size, devices, nodes)
    return f"--batch_size {batch_size} is not a multiple of {product}; {advice}"


def _product(micro_batch_size: int | None, devices: int | None, nodes: int) -> str:
    """What has to divide a batch, in words."""
    factors = [] if micro_batch_size is None else [f"--micro_batch_size {micro_batch_size}"]
    if devices is not None:
        factors.append(f"{devices} device{'s' * (devices > 1)}")
    if devices is not None or nodes > 1:
        factors.append(f"{nodes} node{'s' * (nodes > 1)}")
    unit = (devices or 1) * nodes * (micro_batch_size or 1)
    return " x ".join(factors) + (f" = {unit}" if len(factors) > 1 else "")


def _multiples(number: int, unit: int) -> list[int]:
    """The nearest multiples of a unit below a number, if any, and above it."""
    below = number // unit * unit
    return [size for size in (below, below + unit) if size]


def _nearest_divisors(number: int, near: int) -> list[int]:
    """The largest divisor below `near`, and the smallest above it if there is one."""
    below = next(size for size in range(min(near, number), 0, -1) if number % size == 0)
    above = next((size for size in range(near, number + 1) if number % size == 0), None)
    return [below] if above is None else [below, above]
