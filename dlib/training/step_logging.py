"""`self.log`, in the module and in callbacks: a number joins the record of the optimizer step that is being done.

Lightning's own hands numbers to loggers after all callbacks, and repeats them in later steps, by a count of the
session's steps: they would miss the step's record, and depend on where a session began. It stands apart from
`TrainingModule`, which computes.
"""

from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlib.process.errors import UserError
from dlib.training.plan import TrainingPlan


class StepLogging(pl.LightningModule):
    """A module that knows which optimizer step is being done.

    Attributes:
        plan: the steps of the run.
        step: the optimizer step that is being done, from 1 on, until all callbacks have acted; 0 outside of one.
    """

    plan: TrainingPlan
    step = 0

    def on_train_batch_end(self, *_: Any) -> None:
        """End a step, whose record is written."""
        self.step = 0

    def logged_step(self) -> int | None:
        """The step that is being done, if its numbers are recorded."""
        return self.step if self.step and self.plan.logs_after(self.step) else None

    def log(self, name: str, value: Any, *args: Any, **options: Any) -> None:
        """Lightning's `self.log`, here and in callbacks: the number joins the step's record, where the step is logged.

        Of several processes the first one's number is recorded, or with `sync_dist` what `reduce_fx` makes of all.
        `callback_metrics` has it in any case.

        Raises:
            UserError: it is no single number, or belongs to no step: none is being done, or it is a mean over several.
        """
        if options.get("on_epoch") or not self.step:
            raise UserError(
                f"self.log({name!r}): numbers belong to an optimizer step here, and a run has no epochs: log in "
                "training_step, on_train_batch_end or after_step, without on_epoch"
            )
        if not isinstance(value, int | float | Tensor) or (isinstance(value, Tensor) and value.numel() != 1):
            raise UserError(f"self.log({name!r}): a number, or a tensor of one, is logged, and not a {type(value)}")
        number = value.detach() if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
        if options.get("sync_dist"):
            number = number.float().to(self.device)
            number = self.trainer.strategy.reduce(number, reduce_op=options.get("reduce_fx", "mean"))
        self.trainer.callback_metrics[name] = number.squeeze()
        if options.get("logger") is not False:
            for logger in self.loggers:
                logger.log_metrics({name: cast(float, number)}, self.step)
