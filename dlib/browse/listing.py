"""What `runs.py list` prints: a line a folder of the workspace, and below it what is wrong with some of them."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlib.browse.selection import in_order, selected
from dlib.browse.tables import MISSING, printable, shown_age, shown_number, shown_size, table
from dlib.runs.registry import RunSummary, list_runs

HEADER = ("name", "state", "step", "dev loss", "age", "size")
NUMBERS = (2, 3, 4, 5)


def print_list(workspace: Path, filters: Sequence[str], sort: str, *, reverse: bool, as_json: bool) -> None:
    """Print the folders of a workspace that meet every filter, as a table, or as one JSON object a line.

    Raises:
        UserError: there is no such workspace, or a filter cannot be read.
    """
    found = list_runs(workspace)
    runs = in_order(selected(found, filters), sort, reverse=reverse)
    if as_json:
        lines = [json.dumps(as_object(run), ensure_ascii=True) for run in runs]
    else:
        lines = [*run_table(runs), *problems(runs)] if runs else [_nothing(workspace, found)]
    print("\n".join(lines)) if lines else None


def run_table(runs: Sequence[RunSummary]) -> list[str]:
    """A line a run, below a header."""
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
    """A line for each folder that is no whole run, or whose run failed."""
    noted = [run for run in runs if run.note]
    if noted:
        yield ""
    for run in noted:
        yield printable(f"{run.name} is {run.state}: {run.note}")


def shown_step(run: RunSummary) -> str:
    """Steps done, of how many."""
    if run.step is None:
        return MISSING
    return f"{run.step}/{run.total_steps}" if run.total_steps else str(run.step)


def as_object(run: RunSummary) -> dict[str, Any]:
    """What is told of a run, for programs."""
    names = ("state", "step", "total_steps", "dev_loss", "time", "size_bytes", "note")
    return {"name": run.name, "path": str(run.folder.root), **{name: getattr(run, name) for name in names}}


def _nothing(workspace: Path, found: Sequence[RunSummary]) -> str:
    return f"none of the {len(found)} in {workspace} is like that" if found else f"no runs in {workspace}"
