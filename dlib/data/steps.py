"""What a process computes: an item a step in training, an item a batch in an evaluation.

Item `step` of the training data is all that this process does in that optimizer step, so that the
position in the data is the step itself: one integer, no loader state, the same for any number of workers.

It knows nothing of objectives: whoever turns samples into batches is handed in as a `Collator`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from dlib.data.batching import MicroBatch, StepPlan, eval_batches
from dlib.data.lengths import order_by_length
from dlib.data.mixture import MixedRows
from dlib.data.packing import Rows, RowSource, padding
from dlib.data.samples import Sample
from dlib.process.errors import UserError

TensorBatch = dict[str, torch.Tensor]


class Collator(Protocol):
    """Turns samples into what a model is given. An objective is one."""

    def weight(self, sample: Sample) -> float:
        """Share of a sample in the number that the step's loss is divided by."""

    def collate(self, samples: Sequence[Sample]) -> TensorBatch:
        """Prepare and stack samples, each by its own key."""


@dataclass(frozen=True, eq=False)
class TrainingSteps(Dataset[dict[str, Any]]):
    """Item `step`: the micro-batches of one process in that optimizer step, and the step's size over all processes."""

    rows: RowSource
    plan: StepPlan
    collator: Collator
    rank: int
    world_size: int

    def __len__(self) -> int:
        """Optimizer steps of the run."""
        return self.plan.total_steps

    def __getitem__(self, step: int) -> dict[str, Any]:
        """One optimizer step.

        Returns:
            `step`; `micro_batches`, each with its `index` within the step over all processes, its `batch`, and whether
            it `counts`; and, summed over all processes, `num_samples`, `num_tokens` and `weight`. Every process knows
            these sums by itself, because it can read every row of the step: that costs less than asking. Of several
            texts also `text_weights`, a sum a text, and in each micro-batch `texts` (B,), the place of each row's text.

        Raises:
            UserError: the weight of a sample is no finite number of at least 0.
        """
        epochs, numbers = (values.tolist() for values in self.plan.step_samples(step))
        samples = {place: self._sample(*place) for place in zip(epochs, numbers, strict=True)}
        return {
            "step": step,
            "micro_batches": [
                self._collate(micro_batch, samples)
                for micro_batch in self.plan.micro_batches(step, self.rank, self.world_size)
            ],
            "num_samples": len(numbers),
            "num_tokens": sum(sample.num_tokens for sample in samples.values()),
            "weight": math.fsum(map(self._weight, samples.values())),
            **self._text_weights(samples),
        }

    def _text_weights(self, samples: Mapping[tuple[int, int], Sample]) -> dict[str, list[float]]:
        """The weights of the step's samples, summed by text."""
        if not isinstance(self.rows, MixedRows):
            return {}
        weights: list[list[float]] = [[] for _ in self.rows.names]
        for (_, number), sample in samples.items():
            weights[self.rows.text_of(number)].append(self._weight(sample))
        return {"text_weights": [*map(math.fsum, weights)]}

    def _sample(self, epoch: int, number: int) -> Sample:
        return self.rows.sample(number, (self.plan.seed, epoch, number))

    def _weight(self, sample: Sample) -> float:
        weight = self.collator.weight(sample)
        if not 0 <= weight < math.inf:
            raise UserError(
                f"--objective: row {sample.number} has the weight {weight}: it must be 0 or more, and finite"
            )
        return weight

    def _collate(self, micro_batch: MicroBatch, samples: Mapping[tuple[int, int], Sample]) -> dict[str, Any]:
        """The batch of a micro-batch. Where it has no sample, in the last step, any sample keeps processes in step."""
        places = zip(micro_batch.epochs.tolist(), micro_batch.sample_ids.tolist(), strict=True)
        own = [samples[place] for place in places]
        with padding(of_like_lengths=self.plan.of_like_lengths):
            batch = self.collator.collate(own or [next(iter(samples.values()))])
        item = {"index": micro_batch.index, "batch": batch, "counts": bool(own)}
        if isinstance(self.rows, MixedRows):
            item["texts"] = torch.tensor([*map(self.rows.text_of, micro_batch.sample_ids.tolist())] or [0])
        return item


class EvaluationBatches(Dataset[tuple[TensorBatch, float]]):
    """Item i: the i-th batch of one process; over all processes every row once.

    Attributes:
        batches: numbers of the rows of each of its batches.
        row_order: numbers of the rows of all processes, batch by batch; None where they ascend.
    """

    def __init__(
        self,
        rows: Rows,
        collator: Collator,
        batch_size: int,
        rank: int,
        world_size: int,
        limit: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Deal the rows out, or the first `limit` of them; those of like length together, with a budget of tokens."""
        self.rows = rows
        self.collator = collator
        self.row_order: np.ndarray | None = None
        count = min(len(rows), limit or len(rows))
        if max_tokens is None:
            self.batches = eval_batches(count, batch_size, rank, world_size)
        else:
            batches = order_by_length(rows, count).batches(max_tokens)
            self.batches, self.row_order = batches[rank::world_size], np.concatenate(batches)

    def __len__(self) -> int:
        """Number of this process's batches."""
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[TensorBatch, float]:
        """One batch and its weight; what is drawn for a row depends on the row alone, not on the run's seed."""
        samples = [self.rows.sample(number, ("evaluation", number)) for number in self.batches[index].tolist()]
        with padding(of_like_lengths=self.row_order is not None):
            batch = self.collator.collate(samples)
        return batch, math.fsum(map(self.collator.weight, samples))
