"""Which callbacks work here, and the order in which they act: nobody who adds one to the list can get it wrong."""

from collections.abc import Sequence

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.process.errors import UserError
from dlib.tracking.lightning_loggers import LoggerTracker
from dlib.tracking.run_log import RunLog

INSTEAD = {
    "Checkpoint": "--save_interval and --max_checkpoints say when checkpoints are saved, and the best is always kept",
    "ProgressBar": "--progress shows how far the run is",
    "Timer": "--max_time stops by the clock with everything saved",
    "StochasticWeightAveraging": "--ema_decay 0.999 evaluates and keeps an average of the weights",
    "WeightAveraging": "--ema_decay 0.999 evaluates and keeps an average of the weights",
    "GradientAccumulationScheduler": "--batch_size and --micro_batch_size say how many micro-batches a step has",
    "BatchSizeFinder": "--micro_batch_size says how many sequences a forward pass takes",
    "LearningRateFinder": "--learning_rate is the peak; compare short runs with runs.py compare",
}
"""Lightning's callbacks that know its loops and checkpoints alone, and what does their work here."""


def in_order(listed: Sequence[pl.Callback | Logger], run_log: RunLog) -> list[pl.Callback]:
    """The callbacks in the order in which they act at a step's boundary; those of one place as they are listed.

    Loggers of Lightning's are no callbacks: `run_log` is told of them.

    Raises:
        UserError: a callback cannot work here, or something is none; the message names what to use.
    """
    callbacks: list[pl.Callback] = []
    for entry in listed:
        if isinstance(entry, Logger):
            run_log.tell(LoggerTracker(entry))
        elif isinstance(entry, pl.Callback):
            refuse_useless(entry)
            refuse_same_state(entry, callbacks)
            callbacks.append(entry)
        else:
            raise UserError(f"{entry!r} in the list of train.py is neither a callback nor a logger: is it a class?")
    return sorted(callbacks, key=lambda callback: callback.place if isinstance(callback, StepCallback) else Place.YOURS)


def refuse_useless(callback: pl.Callback) -> None:
    """Refuse a callback whose work would be lost; raises as `in_order` does."""
    name = type(callback).__name__
    for base in type(callback).__mro__:
        if base.__name__ in INSTEAD and base.__module__.startswith(("lightning.", "pytorch_lightning.")):
            raise UserError(f"callback {name}: it cannot work here: {INSTEAD[base.__name__]}")
    for hook in ("on_save_checkpoint", "on_load_checkpoint"):
        if getattr(type(callback), hook) is not getattr(pl.Callback, hook):
            raise UserError(f"callback {name}: {hook} is never called: return what it keeps from state_dict")


def refuse_same_state(callback: pl.Callback, others: Sequence[pl.Callback]) -> None:
    """Refuse a second callback whose state would have the place of another's; raises as `in_order` does."""
    alike = [callback, *(other for other in others if other.state_key == callback.state_key)]
    if len(alike) > 1 and any(type(one).state_dict is not pl.Callback.state_dict for one in alike):
        raise UserError(f"two callbacks have the state_key {callback.state_key!r}: give one of them another")
