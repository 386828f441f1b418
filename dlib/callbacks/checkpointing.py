"""Save checkpoints: at the plan's steps, at each new best, and when the run is told to stop."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
from transformers import PreTrainedTokenizerBase

from dlib.args import ExperimentArgs
from dlib.args.tables import STRATEGIES
from dlib.callbacks.step_callback import Place, StepCallback
from dlib.process.ranks import logger
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import best
from dlib.tracking.run_log import RunLog
from dlib.training.callback_states import callback_states
from dlib.training.checkpoints import checkpoint_bytes
from dlib.training.plan import TrainingPlan
from dlib.training.saving import Copies, gather, write_checkpoint, write_contents
from dlib.training.training_module import TrainingModule


@dataclass(frozen=True)
class Saving:
    """A checkpoint that is to be published."""

    step: int
    is_best: bool
    plan: TrainingPlan
    needed_bytes: int
    write: Callable[[Path], None]


class Checkpointing(StepCallback):
    """Publishes whole checkpoints and moves the links `last` and `best`; the old goes after the new is whole.

    Runs in the first process alone; where weights are in shards, the others hand it theirs. The step's record reaches
    metrics.jsonl first, so that a whole checkpoint always finds every record up to its step.

    With `--save_in_background` a thread does it with a copy: one checkpoint at a time, and nothing that the run tells
    of itself (its status, its end, the next checkpoint) comes before the one that is being written is whole.
    """

    place = Place.SAVE

    def __init__(
        self, folder: RunFolder, tokenizer: PreTrainedTokenizerBase, run_log: RunLog, args: ExperimentArgs
    ) -> None:
        """Keep up to `max_checkpoints` ordinary checkpoints (-1: all) beside the best and the extra ones."""
        self.folder = folder
        self.tokenizer = tokenizer
        self.run_log = run_log
        self.max_checkpoints = args.checkpoint.max_checkpoints
        self.upload = args.tracking.upload_checkpoints
        self.shards = STRATEGIES[args.hardware.distributed_strategy].shards
        self.best_rank: tuple[float, float] | None = None
        self.in_background = args.checkpoint.save_in_background and not self.shards
        self.thread = ThreadPoolExecutor(1, "checkpoints")
        self.copies: Copies | None = None
        self.under_way: tuple[Saving, Future[None]] | None = None

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Learn what is to be beaten; later evaluations are remembered.

        Raises:
            UserError: a callback's state could not be saved, or the networks not be copied.
        """
        callback_states(trainer.callbacks)  # type: ignore[attr-defined]
        found = best(self.folder.metrics, module.objective.best, among=range(1, module.steps_done + 1))
        self.best_rank = None if found is None else module.objective.best.rank(found)
        if self.in_background and trainer.is_global_zero:
            self.copies = Copies(self.tokenizer)
            self.copies.take(module, gather(module))  # what cannot be copied, or held, is told now

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Save where the plan says so, where the evaluation of this step is the best, and before a stop."""
        if not (trainer.is_global_zero or self.shards):
            return
        step = module.steps_done
        self.run_log.flush()
        if self.under_way is not None and self.under_way[1].done():
            self._finish()
        rank = module.objective.best.rank(self.run_log.newest) if module.plan.evaluates_after(step) else None
        is_best = rank is not None and (self.best_rank is None or rank > self.best_rank)
        if not (is_best or module.plan.saves_after(step) or trainer.should_stop):
            return
        if is_best:
            self.best_rank = rank
        self._finish()
        gathered = gather(module)
        if not trainer.is_global_zero:
            return
        write: Callable[[Path], None]
        if self.copies is None:
            write = partial(write_checkpoint, module=module, tokenizer=self.tokenizer, gathered=gathered)
        else:
            write = partial(write_contents, contents=self.copies.take(module, gathered))
        self._begin(Saving(step, is_best, module.plan, checkpoint_bytes(module), write))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the last checkpoint become whole."""
        self._finish()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Let a checkpoint become whole before the run is let go; the exception is told, and not what this meets."""
        self.thread.shutdown()  # which waits: a signal may have come before `under_way` was set
        if self.under_way is not None and (error := self.under_way[1].exception()):
            logger().error("%s", error)

    def _begin(self, saving: Saving) -> None:
        """Publish a checkpoint, or have it published."""
        if self.copies is None:
            self._publish(saving)
            self._tell(saving)
        else:
            self.under_way = saving, self.thread.submit(self._publish, saving)

    def _finish(self) -> None:
        """Wait for the checkpoint that is being written, if one is, and tell of it.

        Raises:
            UserError: it could not be written.
        """
        if self.under_way is None:
            return
        saving, future = self.under_way
        wait([future])  # a signal may interrupt it, and then it is still under way
        self.under_way = None
        future.result()
        self._tell(saving)

    def _publish(self, saving: Saving) -> None:
        """Write a checkpoint, then forget old ones."""
        self.folder.publish_checkpoint(saving.step, saving.write, saving.needed_bytes)
        self.folder.point("last", saving.step)
        if saving.is_best:
            self.folder.point("best", saving.step)
        self.folder.remove_old_checkpoints(self.max_checkpoints, saving.plan.extra_steps)

    def _tell(self, saving: Saving) -> None:
        """Tell of a whole checkpoint, in the main thread: nobody else writes the run's status."""
        self.folder.write_status("running", saving.step, saving.plan.total_steps)
        if self.upload:
            names = ["last", "best"] if saving.is_best else ["last"]
            self.run_log.upload_checkpoint(self.folder.checkpoint(saving.step), names)
