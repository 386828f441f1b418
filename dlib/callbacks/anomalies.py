"""Write down the steps that somebody should look at: numbers that are not finite, and spikes of the loss."""

import math
from collections import deque
from collections.abc import Sequence
from statistics import fmean, stdev

import lightning.pytorch as pl
from transformers import PreTrainedTokenizerBase

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.data.packing import Rows
from dlib.process.errors import TrainingError
from dlib.process.ranks import is_rank_zero, logger
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import MetricsLog, read_metrics
from dlib.tracking.run_log import RunLog
from dlib.training.non_finite import NonFiniteError
from dlib.training.training_module import TrainingModule

SPIKE_WINDOW = 50
"""Logged losses that a new one is compared with."""
FEWEST_LOSSES = 20
"""... and how many there have to be."""
SPIKE_DEVIATIONS = 6
"""A loss so many standard deviations above the mean of those before is a spike."""
LEAST_DEVIATION = 0.01
"""The deviation counts as at least this share of the mean, so that no ripple on a plateau is a spike."""
SHOWN_CHARACTERS = 500
"""Of each sample's text."""
SHOWN_SAMPLES = 8
"""Sample ids in a message; the file has all of them."""


class Anomalies(StepCallback):
    """Keeps anomalies.jsonl: a record a step with the step's samples and their text. Only the first process writes.

    It stops a run whose weights are not finite before they are saved, in every process alike.
    """

    place = Place.STOP

    def __init__(self, folder: RunFolder, rows: Rows, tokenizer: PreTrainedTokenizerBase, run_log: RunLog) -> None:
        """Write to `folder` about the training rows and the numbers of `run_log`."""
        self.folder = folder
        self.rows = rows
        self.tokenizer = tokenizer
        self.run_log = run_log
        self.losses: deque[float] = deque(maxlen=SPIKE_WINDOW)

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Take back what was written after the step that the session begins with, and know the losses up to it."""
        if trainer.is_global_zero:
            self._log = MetricsLog(self.folder.anomalies)
            self._log.rewind(module.steps_done)
            losses = (record.get("train/loss", math.nan) for record in read_metrics(self.folder.metrics))
            self.losses.extend(filter(math.isfinite, losses))

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Look at the weights where they may be saved, and at the loss where it is logged."""
        step, plan = module.steps_done, module.plan
        may_be_saved = plan.saves_after(step) or plan.evaluates_after(step) or trainer.should_stop
        if may_be_saved and module.optim.on_nan != "ignore":
            module.refuse_non_finite_weights(step)
        if not trainer.is_global_zero:
            return
        causes = [] if module.left_out is None else [f"the step's update is left out: {module.left_out}"]
        if plan.logs_after(step):
            causes += self._compare(self.run_log.newest["train/loss"])
        if causes:  # a step has one record
            self._tell(step, module, "; ".join(causes))

    def _compare(self, loss: float) -> list[str]:
        """What is wrong with a logged loss, if anything; later ones are compared with it, too."""
        before = [*self.losses]
        if math.isfinite(loss):
            self.losses.append(loss)
        return [f"the loss is {loss:.4g}, where it was {fmean(before):.4g} before"] if is_spike(loss, before) else []

    def _tell(self, step: int, module: TrainingModule, cause: str) -> None:
        """Warn of a step, and write it down with its samples."""
        epochs, ids = (numbers.tolist() for numbers in module.plan.batches.step_samples(step - 1))
        texts = [self.tokenizer.decode(self.rows.sample(sample).ids.tolist())[:SHOWN_CHARACTERS] for sample in ids]
        samples = [
            {"epoch": epoch, "sample": sample, "text": text}
            for epoch, sample, text in zip(epochs, ids, texts, strict=True)
        ]
        self._log.add(step, {"cause": cause, "samples": samples})
        self._log.flush()
        shown = ", ".join(map(str, ids[:SHOWN_SAMPLES])) + (", ..." if len(ids) > SHOWN_SAMPLES else "")
        logger().warning("step %d: %s; its samples %s stand in %s", step, cause, shown, self.folder.anomalies)

    def explain(self, error: NonFiniteError, module: TrainingModule) -> TrainingError | SystemExit:
        """Write down the step that ended the run.

        Returns:
            What to tell the user, with the checkpoint to go on from. The other processes end quietly.
        """
        if not is_rank_zero():
            return SystemExit(0)
        self._tell(error.step, module, error.cause)
        checkpoints = self.folder.whole_checkpoints()
        last = f"the last one with finite weights is {checkpoints[-1][1]}" if checkpoints else "there is none yet"
        return TrainingError(f"{error}; checkpoints: {last}")


def is_spike(loss: float, before: Sequence[float]) -> bool:
    """Whether a loss is far above those before it, by their mean and standard deviation; few say nothing."""
    if len(before) < FEWEST_LOSSES:
        return False
    mean = fmean(before)
    return loss > mean + SPIKE_DEVIATIONS * max(stdev(before), LEAST_DEVIATION * mean)
