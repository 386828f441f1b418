"""Record what an optimizer step was: its loss, learning rate and gradient."""

import math
from typing import Any, cast

import lightning.pytorch as pl

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.process.ranks import logger
from dlib.tracking.run_log import RunLog
from dlib.training.training_module import TrainingModule


class Recording(StepCallback):
    """Writes a logged step's own numbers; they depend on the step alone, not on when it was computed."""

    place = Place.NUMBERS

    def __init__(self, run_log: RunLog) -> None:
        """Write to `run_log`, which is silent in every process but the first."""
        self.run_log = run_log
        self._warned = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, *_: Any) -> None:
        """Set the step's rate now, where callbacks may look at it (`LearningRateMonitor`)."""
        cast(TrainingModule, pl_module).begin_step(batch["step"])

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Add up the loss over processes, in logged steps only, and record it."""
        step = module.steps_done
        if not module.plan.logs_after(step):
            return
        losses = module.mean_losses()
        loss = losses.pop("")
        if not math.isfinite(loss) and not self._warned:
            logger().warning("the loss is %s after step %d", loss, step)
            self._warned = True
        self.run_log.record(
            step,
            {
                "train/loss": loss,
                **{f"train/loss_{text}": value for text, value in losses.items()},
                "train/learning_rate": module.learning_rate,
                "train/gradient_norm": float(module.gradient_norm),
                "train/samples": module.samples_done,
                "train/tokens": float(module.samples_done * module.plan.tokens_per_sample),
                **({"train/steps_left_out": module.steps_left_out} if module.optim.on_nan == "skip" else {}),
            },
        )
