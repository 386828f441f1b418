"""The one hook that this project's callbacks need: after an optimizer step; and in which order they act there."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, cast

import lightning.pytorch as pl

from dlib.training.training_module import TrainingModule


class Place(IntEnum):
    """When a callback acts at a boundary: in this order, whatever their order in the list (`in_order`)."""

    WEIGHTS = 0
    """The weights that are evaluated and kept are made."""
    NUMBERS = 1
    """The step is measured, recorded and evaluated."""
    YOURS = 2
    """Any other callback, in the order of the list: what was measured is there, and nothing is saved yet."""
    STOP = 3
    """The processes agree whether this was the last step."""
    SAVE = 4
    """Everything is as the next step will find it."""
    SHOW = 5


class StepCallback(pl.Callback):
    """A Lightning callback that acts at the boundaries between optimizer steps. Derive a new one from this.

    What it keeps from step to step has to come back after a kill: `state_dict` returns it (tensors, numbers, texts, and
    lists or dicts of them, the same in all processes), and `load_state_dict` takes it before training begins.
    """

    place = Place.YOURS
    log: Callable[..., None]
    """`self.log(name, number)` writes into the step's record: Lightning sets it when training begins."""

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
