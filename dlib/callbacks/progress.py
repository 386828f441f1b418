"""Show a person how far the run is: a bar on a terminal, a line now and then elsewhere."""

import sys

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dlib.callbacks.step_callback import StepCallback
from dlib.run_log import RunLog
from dlib.training_module import TrainingModule

SHOWN = (
    ("loss", "train/loss", ".4f"),
    ("dev loss", "dev/loss", ".4f"),
    ("tokens/s", "performance/tokens_per_second", ",.0f"),
)
"""What is shown of the newest numbers: a name, whose value, in which format."""

LINES_IN_ALL = 20
"""How many lines a whole run prints where there is no terminal, evaluations aside."""


class ProgressBar(StepCallback):
    """Shows the newest numbers of `run_log`, in the first process alone."""

    def __init__(self, run_log: RunLog) -> None:
        """Show what `run_log` recorded last."""
        self.run_log = run_log
        self.console = Console(stderr=True)
        self.bar: Progress | None = None

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Open the bar where the output is a terminal."""
        if not trainer.is_global_zero or not sys.stderr.isatty():
            return
        columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console)
        self.task = self.bar.add_task("", total=module.plan.total_steps, completed=module.steps_done)
        self.bar.start()

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Move on by a step."""
        if not trainer.is_global_zero:
            return
        step, total = module.steps_done, module.plan.total_steps
        if self.bar is not None:
            self.bar.update(self.task, completed=step, description=self._numbers())
        if module.plan.evaluates_after(step) or (
            self.bar is None and module.plan.logs_after(step) and step % max(1, total // LINES_IN_ALL) == 0
        ):
            self.console.print(f"step {step}/{total}  {self._numbers()}", highlight=False)

    def _numbers(self) -> str:
        newest = self.run_log.newest
        return "  ".join(f"{name} {newest[key]:{form}}" for name, key, form in SHOWN if key in newest)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error stands below it."""
        if self.bar is not None:
            self.bar.stop()
