"""The loaders of a process: a run's rows by the plan's batches, as Lightning asks for them."""

from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from dlib.data.batching import StepPlan
from dlib.data.loader_workers import StepLoader
from dlib.data.packing import RowSource
from dlib.data.steps import Collator, EvaluationBatches, TensorBatch, TrainingSteps
from dlib.data.text_data import TextData


class DataModule(pl.LightningDataModule):
    """The loaders of one process. Rank and world size are known only once the trainer has launched."""

    def __init__(
        self,
        data: TextData,
        plan: StepPlan,
        collator: Collator,
        *,
        first_step: int,
        eval_batch_size: int,
        num_workers: int,
        limit_dev_rows: int | None = None,
        eval_max_tokens: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        """Keep the rows, the plan and the collator; start at `first_step`. Pinned memory is for a run on a GPU."""
        super().__init__()
        self.data = data
        self.plan = plan
        self.collator = collator
        self.first_step = first_step
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.limit_dev_rows = limit_dev_rows
        self.eval_max_tokens = eval_max_tokens
        self.pin_memory = pin_memory

    def train_dataloader(self) -> DataLoader[Any]:
        """Optimizer steps from `first_step` on: resuming costs nothing at any position."""
        steps = range(self.first_step, self.plan.total_steps)
        items = TrainingSteps(self.data.train, self.plan, self.collator, *self._place())
        return StepLoader(items, sampler=steps, num_workers=self.num_workers)

    def first_batch(self) -> TensorBatch:
        """A batch of one training sample."""
        return self.collator.collate([self.data.train.sample(0, (self.plan.seed, 0, 0))])

    def dev_dataloader(self, rows: RowSource) -> DataLoader[Any]:
        """This process's share of a development text's rows. (Not `val_dataloader`: Lightning would run it itself.)

        It has no worker processes. They would be forked anew for each evaluation, and a fork from a process whose
        threads exchange tensors can hang: CPython 3.11 takes a lock in the child that such a thread may have held.
        """
        limits = self.limit_dev_rows, self.eval_max_tokens
        batches = EvaluationBatches(rows, self.collator, self.eval_batch_size, *self._place(), *limits)
        return DataLoader(batches, batch_size=None, pin_memory=self.pin_memory)

    def _place(self) -> tuple[int, int]:
        assert self.trainer is not None
        return self.trainer.global_rank, self.trainer.world_size
