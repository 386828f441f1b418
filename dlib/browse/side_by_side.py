"""`runs.py compare`: the results of several runs, and the arguments in which they differ, a column a run."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from dlib.args import ExperimentArgs
from dlib.browse.curves import SPEED, TRAIN_LOSS, training_hours
from dlib.browse.showing import changed_arguments
from dlib.browse.tables import printable, shown_number, shown_size, table
from dlib.config.fields import value_of
from dlib.config.flags import shown_value
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import DEV_LOSS, is_number, read_metrics, record_of_step
from dlib.runs.record import read_record, shown_commit
from dlib.runs.registry import summarize

OURS = (
    *("step", "train/loss", "train/learning_rate", "train/gradient_norm"),
    *("train/samples", "train/tokens", "train/steps_left_out"),
)
"""Numbers of `callbacks/recording.py`, which say little of a result."""
TAIL_STEPS = 10
"""Logged steps at the end over which the training loss is averaged: that of a single step says little."""


def print_comparison(folders: Sequence[RunFolder], *, as_json: bool) -> None:
    """Print results, then differing arguments."""
    if len({folder.root.resolve() for folder in folders}) < 2:
        raise UserError("compare: give at least two runs")
    found = [results(folder) for folder in folders]
    arguments = differing_arguments(folders)
    if as_json:
        runs = [{"name": folder.name, **result} for folder, result in zip(folders, found, strict=True)]
        print(json.dumps({"runs": runs, "arguments": arguments}))
        return
    columns, names = range(1, len(folders) + 1), [printable(folder.name) for folder in folders]
    quantities = dict.fromkeys(name for result in found for name in result)
    rows = [(name, *(shown_result(name, result.get(name)) for result in found)) for name in quantities]
    print("\n".join(table(rows, ("results", *names), columns)))
    values = [(key, *(_argument(key, value) for value in row)) for key, row in arguments.items()]
    if values:
        print("\n" + "\n".join(table(values, ("arguments", *names), columns)))
    else:
        print("\nno argument differs")


def results(folder: RunFolder) -> dict[str, Any]:
    """The results of a run, by name; the dev numbers are those of its best checkpoint, else its last evaluation."""
    summary = summarize(folder)
    records, measured = read_metrics(folder.metrics), read_metrics(folder.performance)
    train = [record[TRAIN_LOSS] for record in records if is_number(record.get(TRAIN_LOSS))][-TAIL_STEPS:]
    best_step = folder.pointed_step("best")
    evaluated = [record for record in records if DEV_LOSS in record]
    best = (record_of_step(folder.metrics, best_step) if best_step else None) or (evaluated or [{}])[-1]
    speeds = [record[SPEED] for record in measured if is_number(record.get(SPEED))]
    hours = training_hours(records, measured)
    record = read_record(folder)
    return {
        "state": summary.state,
        "step": summary.step,
        "best step": best.get("step"),
        **{name: value for name, value in best.items() if name.startswith("dev/")},
        **own_metrics(records, best),
        f"train/loss, last {TAIL_STEPS}": sum(train) / len(train) if train else None,
        "tokens/s": statistics.median(speeds) if speeds else None,
        "hours": max(hours.values(), default=None),
        "size": summary.size_bytes,
        "commit": shown_commit(record) if record else None,
    }


def own_metrics(records: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> dict[str, Any]:
    """What callbacks of one's own recorded: the numbers of the best checkpoint's record, else the newest."""
    newest = {name: value for record in records for name, value in record.items()}
    return {name: best.get(name, value) for name, value in newest.items() if not is_ours(name)}


def is_ours(name: str) -> bool:
    """Whether a number of metrics.jsonl is recorded in every run, or shown elsewhere."""
    return name in OURS or name.startswith(("dev/", "train/loss_"))


def differing_arguments(folders: Sequence[RunFolder]) -> dict[str, list[Any]]:
    """The values, a run each, of every argument that not all runs share.

    A value is in a list of its own, None for the default, so that a default and a null can be told apart.
    """
    changed = [{change.key: change for change in changed_arguments(folder)} for folder in folders]
    keys = dict.fromkeys(key for changes in changed for key in changes)
    rows = {key: [[c[key].new] if key in c else None for c in changed] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def _argument(key: str, value: list[Any] | None) -> str:
    """A value of `differing_arguments`; the default as such."""
    return shown_value(value[0]) if value else f"{shown_value(value_of(ExperimentArgs(), key))} (default)"


def shown_result(name: str, value: Any) -> str | None:
    """A result as it is printed, by its name."""
    if name == "size":
        return shown_size(value)
    return f"{value:,.0f}" if name == "tokens/s" and value is not None else shown_number(value)
