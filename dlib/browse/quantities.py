"""What runs are shown, sorted and chosen by: what a summary holds, an argument, a metric.

A word means the first of these that it can: `step`, `learning_rate` or `optim.learning_rate`, `dev/accuracy`,
`accuracy` where one metric alone ends so. Files of a run are read only for the words that are asked for, and of
`config.yml` only the section: listing stays fast.
"""

import math
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import decode, is_number, newest_record, read_metrics, record_of_step
from dlib.runs.registry import DAMAGED, RunSummary

Rank = tuple[str, float, str]
"""What is less for a run that comes before another: a kind, a number, a text."""
_SECTION = re.compile(r"^(?=\w+:)", re.MULTILINE)


@dataclass(frozen=True)
class Quantity:
    """What a word stands for.

    Attributes:
        word: as it was typed; of a metric its whole name.
        read: its value for a run; None where the run has none.
        kind: "summary", "argument" or "metric".
    """

    word: str
    read: Callable[[RunSummary], Any]
    kind: str

    def number(self, run: RunSummary) -> float | None:
        """Its value as a number; None where it is none."""
        value = self.read(run)
        return float(value) if is_number(value) else None

    def rank(self, run: RunSummary) -> Rank | None:
        """Where a run stands by it: the lowest first, of steps and sizes the highest; None: after all others."""
        value = self.read(run)
        if value in (None, DAMAGED) or (isinstance(value, float) and math.isnan(value)):
            return None
        if not is_number(value):
            return "text", 0.0, str(value)
        if self.word == "best":
            best_by = run.folder.best_metric
            return best_by.key, -value if best_by.highest else value, ""
        return "", -value if self.word in ("step", "size") else value, ""


def quantity(word: str, flag: str, runs: Sequence[RunSummary]) -> Quantity:
    """What a word after a flag stands for.

    Raises:
        UserError: neither a summary nor an argument is called so, nor one metric of the runs.
    """
    if word in SUMMARY:
        return Quantity(word, SUMMARY[word], "summary")
    from dlib.config.fields import FIELDS, FLAGS, nearest_key  # here: it takes longer than listing
    from dlib.config.spelling import VERY_NEAR, did_you_mean

    key = FLAGS.get(f"--{word}", word)
    if key in FIELDS:
        return Quantity(word, lambda run: argument_of(run.folder, key) if run.is_run else None, "argument")
    names = metric_names(runs) if "/" not in word else []
    name = whole_name(word, names, flag)
    metric = Quantity(name, lambda run: metric_of(run.folder, name), "metric")
    if any(metric.read(run) is not None for run in runs) or (not runs and "/" in word):
        return metric
    near = nearest_key(word, SUMMARY) or did_you_mean(word, names or metric_names(runs), likeness=VERY_NEAR)
    known = near or f"; each of them has {', '.join(SUMMARY)}"
    raise UserError(f"{flag}: {word!r} is neither an argument nor a metric of these runs{known}")


def whole_name(word: str, names: Collection[str], flag: str) -> str:
    """The metric among `names` that a word means, itself or by the last part of its name; the word if there is none.

    Raises:
        UserError: several end so.
    """
    alike = [word] if word in names else [name for name in names if name.rpartition("/")[2] == word]
    if len(alike) > 1:
        raise UserError(f"{flag}: {word!r} may be {' or '.join(sorted(alike))}: write which")
    return alike[0] if alike else word


def best_by(metric: str) -> Quantity:
    """`best`, of the runs alone whose best checkpoint is chosen by this metric."""

    def read(run: RunSummary) -> Any:
        return metric_of(run.folder, metric) if run.folder.best_metric.key == metric else None

    return Quantity(f"best {metric}", read, "metric")


def argument_of(folder: RunFolder, key: str) -> Any:
    """The value of an argument by its full key, the default where the run is older than it."""
    arguments = arguments_of(folder, key.partition(".")[0])
    return DAMAGED if arguments is None else arguments[key]


def arguments_of(folder: RunFolder, only: str | None = None) -> dict[str, Any] | None:
    """The arguments of a run by their full keys, or those of one section; None where they cannot be read."""
    import yaml

    from dlib.args import ExperimentArgs
    from dlib.config.fields import FIELDS, value_of

    try:
        whole = folder.config.read_text(encoding="utf-8")
        section = "".join(text for text in _SECTION.split(whole) if text.startswith(f"{only}:"))
        # A run writes it as YAML writes values: the reader of C takes a quarter of the time.
        content = yaml.load(section or whole, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(content, dict):
        return None
    keys = [key for key in FIELDS if only is None or key.startswith(f"{only}.")]
    defaults = ExperimentArgs()
    return {key: _at(content, key.split("."), value_of(defaults, key)) for key in keys}


def _at(content: Any, names: Sequence[str], default: Any) -> Any:
    for name in names:
        if not isinstance(content, Mapping) or name not in content:
            return default
        content = content[name]
    return content


def metric_of(folder: RunFolder, name: str) -> Any:
    """A metric's value in the record of the best checkpoint, else its newest; None where it was not recorded."""
    record = best_record(folder)
    if name in record:
        return _sound(record[name])
    try:
        values = [record[name] for record in read_metrics(folder.metrics) if name in record]
    except UserError:
        return DAMAGED
    return _sound(values[-1]) if values else None


def best_record(folder: RunFolder) -> dict[str, Any]:
    """The record of the best checkpoint; empty where there is none."""
    step = folder.pointed_step("best")
    return (record_of_step(folder.metrics, step) if step is not None else None) or {}


def metric_names(runs: Sequence[RunSummary]) -> list[str]:
    """The metrics in the newest and the best record of each run."""
    records = [record for run in runs for record in (newest_record(run.folder.metrics), best_record(run.folder))]
    return list(dict.fromkeys(name for record in records for name in record or {} if name != "step"))


def _sound(value: Any) -> Any:
    """A recorded value as a number; a word where it is none."""
    number = decode(value)
    return number if is_number(number) else DAMAGED


def _commit(run: RunSummary) -> str | None:
    from dlib.runs.record import read_record, shown_commit

    record = read_record(run.folder)
    return shown_commit(record) if record else None


SUMMARY: dict[str, Callable[[RunSummary], Any]] = {
    "name": lambda run: run.name,
    "state": lambda run: run.state,
    "step": lambda run: run.step,
    "loss": lambda run: None if run.dev_loss is None else _sound(run.dev_loss),
    "age": lambda run: time.time() - run.time,
    "size": lambda run: run.size_bytes,
    "best": lambda run: metric_of(run.folder, run.folder.best_metric.key),
    "commit": _commit,
}
"""Words for what a summary holds or says where it is found, and what they stand for."""
