"""`runs.py list`: which runs (`--filter`), in what order (`--sort`), a line each, and below it what is wrong with some.

state=finished,preempted   name=bert-*   step>=1000   loss<3   age>30d   size>1GB
"""

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any

from dlib.browse.tables import MISSING, printable, shown_age, shown_number, shown_size, table
from dlib.process.errors import UserError
from dlib.runs.registry import DAMAGED, SHOWN_STATES, RunSummary, list_runs

HEADER = ("name", "state", "step", "dev loss", "age", "size")
NUMBERS = (2, 3, 4, 5)
_EXPRESSION = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.+?)\s*")
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-zA-Z]*)")
_UNITS: Mapping[str, Mapping[str, float]] = {
    "age": {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400},
    "size": {"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    "step": {"": 1, "k": 1e3, "M": 1e6},
    "loss": {"": 1},
}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_EXAMPLES = "state=finished, name='bert-*', 'step>=1000', 'loss<3', 'age>30d' or 'size>1GB'"


def print_list(workspace: Path, filters: Sequence[str], sort: str, *, reverse: bool, as_json: bool) -> None:
    """Print the folders of a workspace that meet every filter, as a table, or as one JSON object a line."""
    found = list_runs(workspace)
    runs = in_order(selected(found, filters), sort, reverse=reverse)
    nothing = f"none of the {len(found)} in {workspace} is like that" if found else f"no runs in {workspace}"
    if as_json:
        lines = [json.dumps(as_object(run), ensure_ascii=True) for run in runs]
    else:
        lines = [*run_table(runs), *problems(runs)] if runs else [nothing]
    print("\n".join(lines)) if lines else None


def run_table(runs: Sequence[RunSummary]) -> list[str]:
    """One line for each run, below a header."""
    now = time.time()
    rows = (
        (
            run.name,
            run.state,
            shown_step(run),
            shown_number(run.dev_loss),
            shown_age(now - run.time) if run.time else None,
            shown_size(run.size_bytes),
        )
        for run in runs
    )
    return table(rows, HEADER, NUMBERS)


def problems(runs: Sequence[RunSummary]) -> Iterator[str]:
    """One line for each folder that is no whole run, or whose run failed."""
    noted = [run for run in runs if run.note]
    if noted:
        yield ""
    for run in noted:
        yield printable(f"{run.name} is {run.state}: {run.note}")


def shown_step(run: RunSummary) -> str:
    """Steps done, and the total."""
    if run.step is None:
        return MISSING
    return f"{run.step}/{run.total_steps}" if run.total_steps else str(run.step)


def as_object(run: RunSummary) -> dict[str, Any]:
    """A run as a JSON object."""
    names = ("state", "step", "total_steps", "dev_loss", "time", "size_bytes", "note")
    return {"name": run.name, "path": str(run.folder.root), **{name: getattr(run, name) for name in names}}


@dataclass(frozen=True)
class Filter:
    """One condition on runs: a key, a relation, and a value."""

    key: str
    relation: str
    value: str | float

    def admits(self, run: RunSummary) -> bool:
        """Whether a run meets it; a run without such a number meets none."""
        if isinstance(self.value, str):
            is_one = any(fnmatchcase(getattr(run, self.key), word) for word in self.value.split(","))
            return is_one == (self.relation == "=")
        number = number_of(run, self.key)
        return number is not None and _COMPARE[self.relation](number, self.value)


def parse_filter(text: str) -> Filter:
    """Reads a condition."""
    match = _EXPRESSION.fullmatch(text)
    key, relation, value = match.groups() if match else ("", "", "")
    if key in ("name", "state") and relation in ("=", "!="):
        for word in value.split(",") if key == "state" else ():
            if not any(fnmatchcase(state, word) for state in SHOWN_STATES):
                raise UserError(f"--filter {text}: no state {word!r}: it is one of {', '.join(SHOWN_STATES)}")
        return Filter(key, relation, value)
    if key not in _UNITS:
        raise UserError(f"--filter {text}: write for example {_EXAMPLES}")
    return Filter(key, relation, _parse_number(value, key, text))


def _parse_number(value: str, key: str, text: str) -> float:
    match, units = _NUMBER.fullmatch(value), _UNITS[key]
    if match is None or match[2] not in units:
        taken = ", ".join(unit for unit in units if unit)
        kind = f" with a unit of {taken}" if taken else ""
        raise UserError(f"--filter {text}: {value!r} is not a number{kind}; write for example {_EXAMPLES}")
    return float(match[1]) * units[match[2]]


def selected(runs: Sequence[RunSummary], expressions: Sequence[str]) -> list[RunSummary]:
    """The runs that meet every condition."""
    filters = [parse_filter(text) for text in expressions]
    return [run for run in runs if all(condition.admits(run) for condition in filters)]


def number_of(run: RunSummary, key: str) -> float | None:
    """The number that runs are compared and sorted by."""
    if key == "age":
        return time.time() - run.time
    value: Any = {"step": run.step, "loss": run.dev_loss, "size": run.size_bytes}[key]
    return None if value in (None, DAMAGED) else float(value)


def in_order(runs: Sequence[RunSummary], key: str, *, reverse: bool = False) -> list[RunSummary]:
    """The runs: newest, furthest, lowest in loss or largest first, names from A on; those without a value last."""
    if key in ("name", "state"):
        return sorted(runs, key=lambda run: (getattr(run, key), run.name), reverse=reverse)
    numbers = {run.name: number_of(run, key) for run in runs}
    sign = -1 if key in ("step", "size") else 1
    sign = -sign if reverse else sign

    def place(run: RunSummary) -> tuple[bool, float, str]:
        number = numbers[run.name]
        is_missing = number is None or math.isnan(number)
        return is_missing, 0.0 if number is None or is_missing else sign * number, run.name

    return sorted(runs, key=place)
