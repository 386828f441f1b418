"""Stop at a step's boundary, with everything saved: when a signal, the clock or another callback asks for it."""

import signal
import time
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn, cast

import lightning.pytorch as pl
import torch
import torch.distributed as dist

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.process.errors import INTERRUPTED_STATUS, UserError
from dlib.process.ranks import say
from dlib.process.stop_signals import STOP_SIGNALS
from dlib.training.training_module import TrainingModule

NO, LATER, DONE = range(3)
"""What a process wishes: to train on, to stop and go on another time, or to be done before the goal."""


class Stopping(StepCallback):
    """Turns a signal into a flag; the processes agree on it at the next boundary, and the run saves and ends.

    Saving inside a signal handler can hang or corrupt (Lightning issue 21406). A second Ctrl-C
    interrupts at once: what was saved is whole.

    Where another callback has set `trainer.should_stop`, the run is done: it is saved likewise, and the checkpoint says
    so, lest a run that is killed in this moment should train on.

    Attributes:
        stopped: whether a signal or the clock stopped the run before its goal.
        reason: why the run is done before its goal; None where it is not.
    """

    place = Place.STOP

    def __init__(self, max_seconds: int | None, started: float) -> None:
        """Stop `max_seconds` after `started`, a reading of `time.monotonic()`; None: by signals alone."""
        self.max_seconds = max_seconds
        self.started = started
        self.stopped = False
        self.reason: str | None = None
        self._asked = False
        self._group: Any = None

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Prepare the processes' asking each other."""
        if trainer.world_size > 1:  # on the CPU, so that asking does not wait for the accelerator
            self._group = dist.new_group(backend="gloo")

    def listen(self) -> None:
        """Take signals as wishes from now on, but for those that are ignored (`nohup`).

        Signals that came before count too, where `launched` has held them back.
        """
        for number in STOP_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def was_asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGINT, self._interrupt)
        with suppress(RuntimeError):  # the signal came while another message was being printed
            say(f"{signal.Signals(number).name}: saving after this optimizer step, then stopping")

    def _interrupt(self, number: int, frame: FrameType | None) -> NoReturn:
        # Not a KeyboardInterrupt, for which Lightning ends the process with a status of its own.
        raise SystemExit(INTERRUPTED_STATUS)

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Stop the trainer when any process was asked to, unless the goal is reached anyway."""
        out_of_time = self.max_seconds is not None and time.monotonic() - self.started >= self.max_seconds
        wish = self._agree(DONE if trainer.should_stop else LATER if self._asked or out_of_time else NO)
        if wish == NO or module.steps_done >= module.plan.total_steps:
            return
        trainer.should_stop = True
        if out_of_time and wish == LATER:
            say(f"--max_time is over after step {module.steps_done}: saving, then stopping")
        if wish == DONE:
            self.reason = f"stopped after step {module.steps_done} by {name_cause(trainer)}"
        self.stopped = wish == LATER

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse an end that nobody has agreed on, and that nothing was saved for.

        Raises:
            UserError: something stopped the trainer before a step, or after all callbacks had acted.
        """
        module = cast(TrainingModule, pl_module)
        if module.steps_done < module.plan.total_steps and not self.stopped and self.reason is None:
            raise UserError(
                f"the training was ended after step {module.steps_done}, where nothing is saved: set "
                "trainer.should_stop in a callback's on_train_batch_end, after_step or on_validation_end"
            )

    def state_dict(self) -> dict[str, Any]:
        """Why the run is done, if it is."""
        return {} if self.reason is None else {"reason": self.reason}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know that the run is done."""
        self.reason = state_dict["reason"]

    def _agree(self, wish: int) -> int:
        """The strongest wish of all processes: signals reach them in different steps."""
        if self._group is None:
            return wish
        wishes = torch.tensor(wish)
        dist.all_reduce(wishes, op=dist.ReduceOp.MAX, group=self._group)
        return int(wishes)


def name_cause(trainer: pl.Trainer) -> str:
    """Which callback stopped the run and why, as far as it says so: like Lightning's, by `stopping_reason_message`."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if message := getattr(callback, "stopping_reason_message", None):
            return f"{type(callback).__name__}: {message.removesuffix(' Signaling Trainer to stop.').rstrip('.')}"
    return "a callback that set trainer.should_stop"
