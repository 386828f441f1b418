"""`runs.py list`: which runs (`--filter`), in what order (`--sort`), a line each, and below it what is wrong with some.

state=finished,preempted   name=bert-*   step>=1000   loss<3   age>30d   size>1GB
learning_rate>1e-3   objective=mlm,clm   dev/accuracy>0.5
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any, TypeVar

from dlib.browse.quantities import SUMMARY, Quantity, Rank, best_by, quantity
from dlib.browse.tables import MISSING, printable, shown_age, shown_number, shown_size, table
from dlib.process.errors import UserError
from dlib.runs.metrics_log import encode, is_number
from dlib.runs.registry import DAMAGED, SHOWN_STATES, RunSummary, list_runs

HEADER = ("name", "state", "step", "dev loss", "age", "size")
NUMBERS = range(2, 6)
SHOWN = ("name", "state", "step", "loss", "age", "size")
"""The words for what stands below the header."""
Item = TypeVar("Item")
_EXPRESSION = re.compile(r"\s*([^\s=<>!]+)\s*(!=|<=|>=|=|<|>)\s*(.+?)\s*")
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-zA-Z]*)")
_UNITS: Mapping[str, Mapping[str, float]] = {
    "age": {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400},
    "size": {"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    "step": {"": 1, "k": 1e3, "M": 1e6},
    "loss": {"": 1},
    "best": {"": 1},
}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_EXAMPLES = "state=finished, name='bert-*', 'step>=1000', 'loss<3', 'age>30d', 'size>1GB' or 'learning_rate>1e-3'"


@dataclass(frozen=True)
class Listing:
    """How `runs.py list` is asked: which runs, in what order, which columns besides."""

    filters: Sequence[str] = ()
    sort: str = "age"
    reverse: bool = False
    columns: Sequence[str] = ()


def print_list(workspace: Path, asked: Listing, *, as_json: bool) -> None:
    """Print the folders of a workspace that meet every filter, as a table, or as one JSON object a line."""
    found = list_runs(workspace)
    columns, by = columns_of(asked, found), quantity(asked.sort, "--sort", found)
    runs = in_order(selected(found, asked.filters), by, reverse=asked.reverse)
    nothing = f"none of the {len(found)} in {workspace} is like that" if found else f"no runs in {workspace}"
    if as_json:
        lines = [json.dumps(as_object(run, columns), ensure_ascii=True) for run in runs]
    else:
        lines = [*run_table(runs, named(columns, runs)), *problems(runs)] if runs else [nothing]
    print("\n".join(lines)) if lines else None


def columns_of(asked: Listing, found: Sequence[RunSummary]) -> list[Quantity]:
    """The columns that are asked for, then the numbers that runs are ordered and chosen by, as far as none has them."""
    columns = [quantity(word, "--columns", found) for word in asked.columns]
    conditions = [parse_filter(text, found) for text in asked.filters]
    chosen_by = [condition.of for condition in conditions if not isinstance(condition.value, str)]
    further = [column for column in (quantity(asked.sort, "--sort", found), *chosen_by) if column.word not in SHOWN]
    return list({column.word: column for column in (*columns, *further)}.values())


def named(columns: Sequence[Quantity], runs: Sequence[RunSummary]) -> list[Quantity]:
    """The columns, with one in place of `best` for each metric that says which checkpoint of a run is the best."""
    if all(column.word != "best" for column in columns):
        return list(columns)  # without reading the status of each run once more
    metrics = dict.fromkeys(run.folder.best_metric.key for run in runs if run.is_run)
    return [it for column in columns for it in (map(best_by, metrics) if column.word == "best" else (column,))]


def run_table(runs: Sequence[RunSummary], columns: Sequence[Quantity] = ()) -> list[str]:
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
            *(shown(column.read(run), column) for column in columns),
        )
        for run in runs
    )
    header = (*HEADER, *(column.word for column in columns))
    return table(rows, header, range(NUMBERS.start, len(header)))


def shown(value: Any, column: Quantity) -> str | None:
    """A value in its column: an argument as it would be typed, else a number with four digits."""
    if column.kind == "argument" and value is not None:
        from dlib.config.flags import shown_value

        return shown_value(value)
    return shown_number(value)


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


def as_object(run: RunSummary, columns: Sequence[Quantity] = ()) -> dict[str, Any]:
    """A run as a JSON object."""
    names = ("state", "step", "total_steps", "dev_loss", "time", "size_bytes", "note")
    found = {"name": run.name, "path": str(run.folder.root), **{name: getattr(run, name) for name in names}}
    return found | ({"columns": {column.word: encode(column.read(run)) for column in columns}} if columns else {})


@dataclass(frozen=True)
class Filter:
    """One condition on runs: a quantity, a relation, and a value."""

    of: Quantity
    relation: str
    value: str | float

    def admits(self, run: RunSummary) -> bool:
        """Whether a run meets it; a run without such a number meets none."""
        if isinstance(self.value, str):
            value = self.of.read(run)
            if self.of.kind == "argument" and (value == DAMAGED or not run.is_run):
                return False
            is_one = any(_is_like(value, word) for word in self.value.split(","))
            return is_one == (self.relation == "=")
        number = self.of.number(run)
        return number is not None and _COMPARE[self.relation](number, self.value)


def _is_like(value: Any, word: str) -> bool:
    """Whether a value is a word's number, or, as it would be typed, like the word."""
    match = _NUMBER.fullmatch(word)
    if is_number(value) and match is not None and not match[2]:
        return float(value) == float(match[1])
    from dlib.config.flags import shown_value

    return fnmatchcase(value if isinstance(value, str) else shown_value(value), word)


def parse_filter(text: str, runs: Sequence[RunSummary] = ()) -> Filter:
    """Reads a condition on some of these runs."""
    match = _EXPRESSION.fullmatch(text)
    word, relation, value = match.groups() if match else ("", "", "")
    if word in ("name", "state", "commit") and relation in ("=", "!="):
        for state in value.split(",") if word == "state" else ():
            if not any(fnmatchcase(known, state) for known in SHOWN_STATES):
                raise UserError(f"--filter {text}: no state {state!r}: it is one of {', '.join(SHOWN_STATES)}")
        return Filter(quantity(word, "--filter", runs), relation, value)
    if not word or (word in SUMMARY and word not in _UNITS):
        raise UserError(f"--filter {text}: write for example {_EXAMPLES}")
    of = quantity(word, f"--filter {text}", runs)
    if of.kind == "argument" and relation in ("=", "!="):
        return Filter(of, relation, value)
    return Filter(of, relation, _parse_number(value, word, text))


def _parse_number(value: str, key: str, text: str) -> float:
    match, units = _NUMBER.fullmatch(value), _UNITS.get(key, {"": 1})
    if match is None or match[2] not in units:
        taken = ", ".join(unit for unit in units if unit)
        kind = f" with a unit of {taken}" if taken else ""
        raise UserError(f"--filter {text}: {value!r} is not a number{kind}; write for example {_EXAMPLES}")
    return float(match[1]) * units[match[2]]


def selected(runs: Sequence[RunSummary], expressions: Sequence[str]) -> list[RunSummary]:
    """The runs that meet every condition."""
    filters = [parse_filter(text, runs) for text in expressions]
    return [run for run in runs if all(condition.admits(run) for condition in filters)]


def in_order(runs: Iterable[RunSummary], by: Quantity, *, reverse: bool = False) -> list[RunSummary]:
    """The runs: newest, furthest, largest, lowest in a number or best first, names from A on; without a value last."""
    return by_rank(sorted(runs, key=lambda run: run.name), by.rank, reverse=reverse)


def by_rank(items: Sequence[Item], rank: Callable[[Item], Rank | None], *, reverse: bool) -> list[Item]:
    """The items by their ranks, equal ones as they were, those without a rank last whichever way round."""
    ranked = [(rank(item), item) for item in items]
    there = [(place, item) for place, item in ranked if place is not None]
    ordered = sorted(there, key=lambda pair: pair[0], reverse=reverse)
    return [item for _, item in ordered] + [item for place, item in ranked if place is None]
