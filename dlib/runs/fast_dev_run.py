"""`train.py --fast_dev_run`: once through all the code of a run, in seconds; nothing is left but what was printed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from dlib.args import ExperimentArgs
from dlib.process.ranks import is_rank_zero, say
from dlib.runs.folder import RunFolder

STEPS = "2 steps"
DEV_ROWS = 16
NUMBER = "DLIB_FAST_DEV_RUN"
"""A variable that the processes of one start share, so that they find the same folder."""


def shorten(args: ExperimentArgs) -> ExperimentArgs:
    """The arguments of a run with a few steps, one small evaluation, one checkpoint, no trackers, and its own name."""
    number = os.environ.get("MASTER_PORT") or os.environ.get("SLURM_JOB_ID") or str(os.getpid())
    name = f"{args.run.name}-fast-dev-run-{os.environ.setdefault(NUMBER, number)}"
    return replace(
        args,
        run=replace(args.run, name=name, branch=None),
        data=replace(args.data, limit_dev_rows=min(args.data.limit_dev_rows or DEV_ROWS, DEV_ROWS)),
        optim=replace(args.optim, warmup="0", decay="1" if args.optim.schedule == "wsd" else args.optim.decay),
        durations=replace(args.durations, training_goal=STEPS, earlier_goals=[], eval_interval=STEPS),
        checkpoint=replace(args.checkpoint, save_interval=STEPS, extra_steps=[]),
        tracking=replace(args.tracking, trackers=["none"], log_interval=1),
    )


@contextmanager
def removed(folder: RunFolder) -> Iterator[None]:
    """Remove the run at its end, good or bad."""
    try:
        yield
        say(f"--fast_dev_run: all went well; {folder.root} is removed")
    finally:
        if is_rank_zero():
            shutil.rmtree(folder.root, ignore_errors=True)
