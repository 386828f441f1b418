"""Evaluate on the development text in the middle of training, without disturbing it."""

import lightning.pytorch as pl

from dlib.callbacks.step_callback import StepCallback
from dlib.data.data_module import DataModule
from dlib.tracking.run_log import RunLog
from dlib.training.evaluation import evaluate
from dlib.training.training_module import TrainingModule


class Evaluating(StepCallback):
    """Measures the model at the plan's steps, before a checkpoint of the same step is saved.

    Lightning's validation loop is not used: it comes after a checkpoint of the same step (its issue
    20185), and what it draws and resets changes the training that follows (16827).
    """

    def __init__(self, data: DataModule, run_log: RunLog, tokens_per_byte: float) -> None:
        """Read development rows from `data`, and write the metrics to `run_log`."""
        self.data = data
        self.run_log = run_log
        self.tokens_per_byte = tokens_per_byte

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Evaluate where the plan says so."""
        if not module.plan.evaluates_after(module.steps_done):
            return
        with trainer.precision_plugin.forward_context():
            metrics = evaluate(
                module.model, module.objective, self.data.dev_dataloader(), tokens_per_byte=self.tokens_per_byte
            )
        self.run_log.record(module.steps_done, {f"dev/{name}": value for name, value in metrics.items()})
