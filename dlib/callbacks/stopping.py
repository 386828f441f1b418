"""Stop at a step's boundary, with everything saved: when a signal asks for it, or the clock does."""

import signal
import time
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
import torch.distributed as dist

from dlib.callbacks.step_callback import StepCallback
from dlib.process.errors import INTERRUPTED_STATUS
from dlib.process.ranks import say
from dlib.training.training_module import TrainingModule

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Ctrl-C, a scheduler's polite end, a scheduler's early warning, and a terminal that went away."""


class Stopping(StepCallback):
    """Turns a signal into a flag; the processes agree on it at the next boundary, and the run saves and ends.

    Saving inside a signal handler can hang or corrupt (Lightning issue 21406). A second Ctrl-C
    interrupts at once: what was saved is whole.

    Attributes:
        stopped: whether the run was stopped before its goal.
    """

    def __init__(self, max_seconds: int | None, started: float) -> None:
        """Stop `max_seconds` after `started`, a reading of `time.monotonic()`; None: by signals alone."""
        self.max_seconds = max_seconds
        self.started = started
        self.stopped = False
        self._asked = False
        self._group: Any = None

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Prepare the processes' asking each other."""
        if trainer.world_size > 1:  # on the CPU, so that asking does not wait for the accelerator
            self._group = dist.new_group(backend="gloo")

    def listen(self) -> None:
        """Take signals as wishes from now on, those apart that are ignored (as `nohup` has it).

        That is also those that came before, where whoever started this process has held them back (`launched`).
        """
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

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
        if self._agree(self._asked or out_of_time) and module.steps_done < module.plan.total_steps:
            self.stopped = trainer.should_stop = True

    def _agree(self, wish: bool) -> bool:
        """Whether any process wishes to stop: signals reach processes in different steps."""
        if self._group is None:
            return wish
        wishes = torch.tensor(int(wish))
        dist.all_reduce(wishes, op=dist.ReduceOp.MAX, group=self._group)
        return bool(wishes)
