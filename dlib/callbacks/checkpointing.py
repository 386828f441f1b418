"""Save checkpoints: at the plan's steps, at each new best, and when the run is told to stop."""

import lightning.pytorch as pl
from transformers import PreTrainedTokenizerBase

from dlib.args import ExperimentArgs
from dlib.args.tables import STRATEGIES
from dlib.callbacks.step_callback import Place, StepCallback
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import best
from dlib.tracking.run_log import RunLog
from dlib.training.callback_states import callback_states
from dlib.training.checkpoints import Gathered, checkpoint_bytes, gather, write_checkpoint
from dlib.training.training_module import TrainingModule


class Checkpointing(StepCallback):
    """Publishes whole checkpoints and moves the links `last` and `best`; the old goes after the new is whole.

    Runs in the first process alone; where weights are in shards, the others hand it theirs. The step's record reaches
    metrics.jsonl first, so that a whole checkpoint always finds every record up to its step.
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

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Learn what is to be beaten; later evaluations are remembered.

        Raises:
            UserError: a callback's state could not be saved.
        """
        callback_states(trainer.callbacks)  # type: ignore[attr-defined]
        found = best(self.folder.metrics, module.objective.best, among=range(1, module.steps_done + 1))
        self.best_rank = None if found is None else module.objective.best.rank(found)

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Save where the plan says so, where the evaluation of this step is the best, and before a stop."""
        if not (trainer.is_global_zero or self.shards):
            return
        step = module.steps_done
        self.run_log.flush()
        rank = module.objective.best.rank(self.run_log.newest) if module.plan.evaluates_after(step) else None
        is_best = rank is not None and (self.best_rank is None or rank > self.best_rank)
        if not (is_best or module.plan.saves_after(step) or trainer.should_stop):
            return
        if is_best:
            self.best_rank = rank
        gathered = gather(module)
        if trainer.is_global_zero:
            self._publish(module, gathered, is_best=is_best)

    def _publish(self, module: TrainingModule, gathered: Gathered, *, is_best: bool) -> None:
        """Write a checkpoint of what is gathered, then forget old ones."""
        step = module.steps_done
        self.folder.publish_checkpoint(
            step, lambda folder: write_checkpoint(folder, module, self.tokenizer, gathered), checkpoint_bytes(module)
        )
        self.folder.point("last", step)
        if is_best:
            self.folder.point("best", step)
        self.folder.remove_old_checkpoints(self.max_checkpoints, module.plan.extra_steps)
        self.folder.write_status("running", step, module.plan.total_steps)
        if self.upload:
            self.run_log.upload_checkpoint(self.folder.checkpoint(step), ["last", "best"] if is_best else ["last"])
