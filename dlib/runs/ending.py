"""What a session says at its end: how far it came, the numbers of its best and of its newest evaluation, its model."""

from collections.abc import Mapping
from typing import Any

from dlib.process.ranks import say
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


def tell_numbers(folder: RunFolder) -> None:
    """Tell the evaluations of the best checkpoint and of the newest step that has one."""
    evaluated = {record["step"]: record for record in read_metrics(folder.metrics) if any(map(is_dev, record))}
    found = best(folder.metrics, folder.best_metric, among={step for step, _ in folder.whole_checkpoints()})
    best_step, last_step = found["step"] if found else None, max(evaluated, default=None)
    if best_step is not None and best_step != last_step:
        say(f"  best, step {best_step}: dev {numbers(evaluated[best_step])}")
    if last_step is not None:
        word = "last and best" if best_step == last_step else "last"
        say(f"  {word}, step {last_step}: dev {numbers(evaluated[last_step])}")


def is_dev(name: str) -> bool:
    """Whether a number is of an evaluation."""
    return name.startswith(DEV)


def numbers(record: Mapping[str, Any]) -> str:
    """The numbers of an evaluation in words."""
    return ", ".join(f"{name.removeprefix(DEV)} {value:.4g}" for name, value in record.items() if is_dev(name))
