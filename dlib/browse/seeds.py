"""`runs.py list --mean`: runs that differ in their seed only, as one line with mean and standard deviation.

Their other arguments are the same, and the hashes of their texts. Arguments that do not enter what a run computes
(where it runs, its name) may differ, and so may the code, which is said below the table: it changes more often than
matters.
"""

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlib.args.fields import facts_of
from dlib.browse.listing import Listing, by_rank, columns_of, named, selected, shown
from dlib.browse.quantities import Quantity, Rank, arguments_of, quantity
from dlib.browse.tables import printable, shown_number, table
from dlib.config.fields import FIELDS
from dlib.runs.comparison import shortened
from dlib.runs.metrics_log import encode
from dlib.runs.record import read_record, shown_commit
from dlib.runs.registry import RunSummary, list_runs

SEED = "run.seed"
TEXTS = ("training text", "development text")
Group = list[RunSummary]


def print_means(workspace: Path, asked: Listing, *, as_json: bool) -> None:
    """Print the groups of the runs that meet every filter, as a table, or as one JSON object a line."""
    runs = list_runs(workspace)
    columns = [quantity("loss", "--columns", runs), *columns_of(asked, runs)]
    by = quantity(asked.sort, "--sort", runs)
    groups = by_rank(groups_of(selected(runs, asked.filters)), lambda group: rank_of(group, by), reverse=asked.reverse)
    if as_json:
        lines = [json.dumps(as_object(group, columns)) for group in groups]
    else:
        columns = named(columns, [run for group in groups for run in group])
        lines = [*mean_table(groups, columns), *notes(groups)] if groups else ["no run is like that"]
    print("\n".join(lines)) if lines else None


def groups_of(runs: Sequence[RunSummary]) -> list[Group]:
    """The runs in groups that differ in the seed only; what has no readable arguments is left out."""
    groups: dict[str, Group] = {}
    for run in runs:
        arguments = arguments_of(run.folder) if run.is_run else None
        if arguments is not None:
            hashes = (read_record(run.folder) or {}).get("hashes", {})
            same = repr([*(arguments[key] for key in compared_arguments()), *map(hashes.get, TEXTS)])
            groups.setdefault(same, []).append(run)
    return list(groups.values())


def compared_arguments() -> list[str]:
    """The arguments that enter what a run computes, but for the seed."""
    return [key for key, field in FIELDS.items() if not facts_of(field).free and key != SEED]


def varied_arguments(groups: Sequence[Group]) -> list[str]:
    """The arguments in which groups differ."""
    found = [arguments_of(group[0].folder) or {} for group in groups]
    return [key for key in compared_arguments() if any(arguments[key] != found[0][key] for arguments in found)]


def rank_of(group: Group, by: Quantity) -> Rank | None:
    """Where a group stands: by the mean of its runs' numbers, or its first text; last where the mean is no number."""
    ranks = [rank for run in group if (rank := by.rank(run)) is not None]
    if is_averaged(by) and math.isnan(mean_and_deviation(group, by)[1] or 0.0):
        return None
    return (ranks[0][0], statistics.fmean(rank[1] for rank in ranks), ranks[0][2]) if ranks else None


def mean_and_deviation(group: Group, column: Quantity) -> tuple[int, float | None, float | None]:
    """How many runs have the number, its mean, and its standard deviation in a sample of so many (n - 1)."""
    return moments([number for run in group if (number := column.number(run)) is not None])


def moments(numbers: Sequence[float]) -> tuple[int, float | None, float | None]:
    """How many numbers there are, their mean, and the standard deviation; none of fewer than two.

    Not `stdev`, which fails on what is not finite.
    """
    if len(numbers) < 2:
        return len(numbers), next(iter(numbers), None), None
    mean = statistics.fmean(numbers)
    return len(numbers), mean, (sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)) ** 0.5


def mean_table(groups: Sequence[Group], columns: Sequence[Quantity]) -> list[str]:
    """One line for each group, below a header; `n` says how many runs the numbers beside it come from."""
    header = ["runs"]
    for column in columns:
        header += ["n", column.word, "deviation"] if is_averaged(column) else [column.word]
    return table([_row(group, columns) for group in groups], header, range(1, len(header)))


def _row(group: Group, columns: Sequence[Quantity]) -> list[Any]:
    cells: list[Any] = [shortened([run.name for run in group])]
    for column in columns:
        if is_averaged(column):
            number, *values = mean_and_deviation(group, column)
            cells += [number, *(shown_number(value) for value in values)]
        else:
            cells.append(shortened(list(dict.fromkeys(str(shown(column.read(run), column)) for run in group))))
    return cells


def is_averaged(column: Quantity) -> bool:
    """Whether a column is a result, of which a mean is taken; of anything else the values are listed."""
    return column.kind == "metric" or column.word in ("loss", "best")


def as_object(group: Group, columns: Sequence[Quantity]) -> dict[str, Any]:
    """A group as a JSON object."""
    found: dict[str, Any] = {"runs": [run.name for run in group]}
    for column in columns:
        if is_averaged(column):
            number, mean, deviation = mean_and_deviation(group, column)
            found[column.word] = {"n": number, "mean": encode(mean), "deviation": encode(deviation)}
        else:
            found[column.word] = [encode(column.read(run)) for run in group]
    return found


def notes(groups: Sequence[Group]) -> Iterator[str]:
    """One line for each run that is not finished, and for each group whose runs differ in more than the seed."""
    lines = [line for group in groups for line in _group_notes(group)]
    yield from ["", *map(printable, lines)] if lines else ()


def _group_notes(group: Group) -> Iterator[str]:
    for run in group:
        if run.state != "finished":
            yield f"{run.name} is {run.state}, and counts as it is: --filter state=finished leaves it out"
    records = [record for run in group if (record := read_record(run.folder))]
    commits = list(dict.fromkeys(shown_commit(record) or "none" for record in records))
    if len(commits) > 1:
        yield f"{shortened([run.name for run in group])}: the code differs, too: {shortened(commits)}"
