"""What a session says at its end: how far it came, the numbers of its best and of its newest evaluation, its model."""

import shutil
from collections.abc import Mapping
from typing import Any

from dlib.args import ExperimentArgs
from dlib.args.training import ENDLESS_SCHEDULES
from dlib.process.failures import describe_failure, first_failure
from dlib.process.messages import keep_in_log
from dlib.process.ranks import logger, say, world_size
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import best, read_metrics
from dlib.runs.paths import CheckpointFolder

DEV = "dev/"


def tell_end(folder: RunFolder, state: str, step: int, total_steps: int, reason: str | None) -> None:
    """Tell the user; `reason` is why a run is finished before its goal."""
    if state != "preempted":
        say(f"run '{folder.name}' is finished at step {step}{f', {reason}' if reason else ''}")
    tell_numbers(folder)
    if state == "preempted":
        say(f"run '{folder.name}' is saved at step {step} of {total_steps}; the same command goes on")
    else:
        say(f"model: {CheckpointFolder(folder.best if folder.best.exists() else folder.last).model}")


def tell_finished(folder: RunFolder, args: ExperimentArgs) -> None:
    """Say that there is nothing left to do, and why where the goal was not reached."""
    status = folder.read_status()
    why = f", {status.reason}" if status and status.reason else ""
    say(f"run '{folder.name}' is finished{why}: {folder.root}; {ways_on(folder, args)}")


def ways_on(folder: RunFolder, args: ExperimentArgs) -> str:
    """What goes on with a finished run, in words: a longer goal only where its steps would have been the same."""
    status = folder.read_status()
    if (status and status.reason) or args.optim.schedule not in ENDLESS_SCHEDULES:
        return f"--branch {folder.name} --name another goes on from its last step"
    return "a longer --training_goal goes on, another --name is new"


def tell_numbers(folder: RunFolder) -> None:
    """Tell the evaluation of the best checkpoint and the last one, which may be older than the last checkpoint."""
    evaluated = {record["step"]: record for record in read_metrics(folder.metrics) if any(map(is_dev, record))}
    found = best(folder.metrics, folder.best_metric, among={step for step, _ in folder.whole_checkpoints()})
    best_step, last_step = found["step"] if found else None, max(evaluated, default=None)
    if best_step is not None and best_step != last_step:
        say(f"  best checkpoint, step {best_step}: dev {numbers(evaluated[best_step])}")
    if last_step is not None:
        word = "best checkpoint and last evaluation" if best_step == last_step else "last evaluation"
        say(f"  {word}, step {last_step}: dev {numbers(evaluated[last_step])}")


def is_dev(name: str) -> bool:
    """Whether a number is of an evaluation."""
    return name.startswith(DEV)


def numbers(record: Mapping[str, Any]) -> str:
    """The numbers of an evaluation in words."""
    return ", ".join(f"{name.removeprefix(DEV)} {value:.4g}" for name, value in record.items() if is_dev(name))


def keep_failure(folder: RunFolder, error: BaseException) -> str:
    """Put into train.log why a session fails, last its cause, and before it the traceback of who failed first.

    Returns:
        The cause. That of a fault of ours, of several processes, names the rank.
    """
    first, own = first_failure(folder.failures), describe_failure(error)
    for failure in filter(None, (first, own)):
        if failure.traceback:
            keep_in_log(f"rank {failure.rank} of the run, on {failure.host}:\n{failure.traceback}")
    reason = str(own) if own.traceback and world_size() > 1 else own.cause
    (logger().error if own.traceback else keep_in_log)(reason)  # a UserError is printed by whoever catches it
    shutil.rmtree(folder.failures, ignore_errors=True)
    return reason
