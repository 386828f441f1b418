"""Show a person how far the run is: a bar on a terminal, a line now and then elsewhere and in train.log."""

import sys
import time

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.process.ranks import say
from dlib.runs.metrics_log import DEV_LOSS
from dlib.tracking.run_log import RunLog
from dlib.training.training_module import TrainingModule

LOSS, SPEED = "train/loss", "performance/tokens_per_second"
SECONDS_BETWEEN_LINES = 10
"""Where there is no terminal; evaluations always have their line."""


class ProgressBar(StepCallback):
    """Shows the newest numbers of `run_log`, in the first process alone."""

    place = Place.SHOW

    def __init__(self, run_log: RunLog) -> None:
        """Show what `run_log` recorded last."""
        self.run_log = run_log
        self.bar: Progress | None = None
        self._last_line = -float("inf")

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Open the bar where the output is a terminal."""
        if not trainer.is_global_zero or not sys.stderr.isatty():
            return
        columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
        self.task = self.bar.add_task("", total=module.plan.total_steps, completed=module.steps_done)
        self.bar.start()

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Move on by a step."""
        if not trainer.is_global_zero:
            return
        step, plan = module.steps_done, module.plan
        if self.bar is not None:
            self.bar.update(self.task, completed=step, description=self._numbers(LOSS, SPEED))
        if plan.evaluates_after(step):
            numbers = self._numbers(LOSS, DEV_LOSS, module.objective.best.key, SPEED)
            say(f"step {step}/{plan.total_steps}  {numbers}")
        elif self.bar is None and plan.logs_after(step) and self._line_is_due():
            say(f"step {step}/{plan.total_steps}  {self._numbers(LOSS, SPEED)}")

    def _line_is_due(self) -> bool:
        now = time.monotonic()
        is_due = now - self._last_line >= SECONDS_BETWEEN_LINES
        if is_due:
            self._last_line = now
        return is_due

    def _numbers(self, *names: str) -> str:
        newest = self.run_log.newest
        return "  ".join(shown(name, newest[name]) for name in dict.fromkeys(names) if name in newest)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error stands below it."""
        if self.bar is not None:
            self.bar.stop()


def shown(name: str, value: float) -> str:
    """A number of the records, as it is said: "dev loss 1.2345"."""
    return f"tokens/s {value:,.0f}" if name == SPEED else f"{name.removeprefix('train/').replace('/', ' ')} {value:.4f}"
