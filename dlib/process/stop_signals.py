"""Who is asked to stop before anything was computed ends at once, with the status of a run that is to go on later.

`train.py` imports this before everything else: imports, reading and tokenizing take seconds to minutes, in which a
scheduler may take the machine back. What it asks for by a signal is then "run me again", and not the 143 of a crash.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

STOPPED_STATUS = 75
"""The exit status of a run that was stopped, and that the same command brings to its end (EX_TEMPFAIL)."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Ctrl-C, a scheduler's polite end, a scheduler's early warning, and a terminal that went away."""


def stop_unsaved_when_asked() -> None:
    """End this process with `STOPPED_STATUS` at a signal, until `Stopping.listen` takes signals as wishes.

    A signal that is ignored (`nohup`) stays so, and Ctrl-C interrupts as ever.
    """
    for number in STOP_SIGNALS[1:]:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    place = next((os.environ[name] for name in ("RANK", "NODE_RANK", "SLURM_PROCID") if name in os.environ), "0")
    if place != "0":
        os._exit(0)  # as at any stop the first process alone tells the status: a launcher might take it for a crash
    with suppress(OSError, RuntimeError, AttributeError):  # no stderr, or another line is just being printed
        print(f"{signal.Signals(number).name}: nothing was computed yet; the same command goes on", file=sys.stderr)
    # Not SystemExit: raised within an import or a callback it ends as any error that a library makes of it. What is on
    # the disk is whole at any moment, and processes that tokenize end with this one.
    os._exit(STOPPED_STATUS)
