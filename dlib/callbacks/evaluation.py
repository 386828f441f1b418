"""Evaluate on the development texts in the middle of training, without disturbing it."""

from collections.abc import Mapping
from typing import cast

import lightning.pytorch as pl
import torch

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.data.data_module import DataModule
from dlib.data.steps import EvaluationBatches
from dlib.process.errors import UserError
from dlib.tracking.run_log import RunLog
from dlib.training.evaluation import evaluate
from dlib.training.sharding import computing_whole
from dlib.training.training_module import TrainingModule


class Evaluating(StepCallback):
    """Measures the model at the plan's steps, before a checkpoint of the same step is saved.

    Lightning's validation loop is not used: it comes after a checkpoint of the same step (its issue
    20185), and what it draws and resets changes the training that follows (16827). Its hooks around a validation are
    called all the same, and the numbers are in `trainer.callback_metrics`, so that `EarlyStopping` works.
    """

    place = Place.NUMBERS

    def __init__(self, data: DataModule, run_log: RunLog) -> None:
        """Read development rows from `data`, and write the metrics to `run_log`."""
        self.data = data
        self.run_log = run_log

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Show the callbacks what was found before this session."""
        show_callbacks(trainer, {name: value for name, value in self.run_log.newest.items() if name.startswith("dev/")})

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Evaluate where the plan says so."""
        if not module.plan.evaluates_after(module.steps_done):
            return
        call_all(trainer, module, "on_validation_start", "on_validation_epoch_start")
        named: dict[str, float] = {}
        with module.kept_weights(), computing_whole(module), trainer.precision_plugin.forward_context():
            for dev in self.data.data.dev_sets:
                loader = self.data.dev_dataloader(dev.rows)
                metrics = evaluate(
                    module.model,
                    module.objective,
                    loader,
                    tokens_per_byte=dev.tokens_per_byte,
                    row_order=cast(EvaluationBatches, loader.dataset).row_order,
                )
                named |= {f"{dev.prefix}{name}": value for name, value in metrics.items()}
        refuse_missing_best(module.objective.best.key, named)
        self.run_log.record(module.steps_done, named)
        show_callbacks(trainer, named)
        call_all(trainer, module, "on_validation_epoch_end", "on_validation_end")


def refuse_missing_best(key: str, named: Mapping[str, float]) -> None:
    """Refuse metrics that lack the one which is to say what is best; in every process, so that none waits for another.

    Raises:
        UserError: it is not there.
    """
    if key not in named:
        raise UserError(f"--objective: it says that {key} decides on the best checkpoint, and has {', '.join(named)}")


def show_callbacks(trainer: pl.Trainer, metrics: Mapping[str, float]) -> None:
    """Put numbers where Lightning's callbacks look for them, in every process alike."""
    trainer.callback_metrics.update({name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()})


def call_all(trainer: pl.Trainer, module: TrainingModule, *hooks: str) -> None:
    """Call hooks of all callbacks that Lightning would call in its validation loop."""
    for hook in hooks:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            getattr(callback, hook)(trainer, module)
