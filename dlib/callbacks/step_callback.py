"""The one hook that this project's callbacks need: after an optimizer step."""

from typing import Any, cast

import lightning.pytorch as pl

from dlib.training.training_module import TrainingModule


class StepCallback(pl.Callback):
    """A Lightning callback that acts at the boundaries between optimizer steps. Derive a new one from this."""

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Called once, when processes and devices are ready."""

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Called in every process after each optimizer step; `module.steps_done` counts it."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's name for it."""
        self.before_training(trainer, cast(TrainingModule, pl_module))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Lightning's name for it: a batch is a whole optimizer step here."""
        self.after_step(trainer, cast(TrainingModule, pl_module))
