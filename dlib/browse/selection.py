"""Which runs a command is about: those that are named, or all of a workspace, as far as they meet the filters."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dlib.browse.listing import selected
from dlib.browse.tables import printable
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.registry import DAMAGED, FOREIGN, HALF_WRITTEN, RunSummary, find_run, list_runs, summarize


def chosen_runs(workspace: Path, words: Sequence[str], filters: Sequence[str]) -> list[RunSummary]:
    """The runs that `words` name, or else all folders of the workspace, as far as they meet every filter.

    Raises:
        UserError: there is no such run, or a filter means nothing.
    """
    named = [summarize(find_named(word, workspace)) for word in words]
    return selected(named if words else list_runs(workspace), filters)


def find_named(word: str, workspace: Path) -> RunFolder:
    """The run of a name or path; raises UserError as `find_run` does, and says where a pattern of names stands."""
    try:
        return find_run(word, workspace)
    except UserError as error:
        if "/" in word or not set(word) & set("*?["):
            raise
        raise UserError(
            f"no run {word!r}; for all of such names write --filter {shlex.quote(f'name={word}')}"
        ) from error


def runs_to_read(
    command: str, workspace: Path, words: Sequence[str], filters: Sequence[str], *, all_by_default: bool = False
) -> list[RunFolder]:
    """The runs for a command that reads them; of those that are not named, what is no whole run is left out, and told.

    Args:
        command: for error messages.
        workspace: the folder of the runs.
        words: names or paths of runs.
        filters: conditions.
        all_by_default: whether it is about all runs, unless some are named or chosen.

    Raises:
        UserError: no run is chosen, there is no such run, or a filter means nothing.
    """
    if not (words or filters or all_by_default):
        raise UserError(f"{command}: name runs, or choose them with --filter")
    if words and not filters:
        return [find_named(word, workspace) for word in words]
    whole = []
    for run in chosen_runs(workspace, words, filters):
        if run.state in (FOREIGN, HALF_WRITTEN, DAMAGED):
            print(printable(f"{run.name} is left out: {run.note}"), file=sys.stderr)
        else:
            whole.append(run.folder)
    if not whole:
        conditions = "".join(f" --filter {shlex.quote(text)}" for text in filters)
        raise UserError(f"{command}: no run in {workspace}{' meets' * bool(filters)}{conditions}: see runs.py list")
    return whole


def runs_to_change(command: str, workspace: Path, words: Sequence[str], filters: Sequence[str]) -> list[RunFolder]:
    """The runs for a command that removes something in them; those that filters chose and that must stay are told.

    Raises:
        UserError: nothing is named, there is no such run, or a filter means nothing.
    """
    if not filters:
        return runs_to_read(command, workspace, words, filters)
    return [run.folder for run in removable(chosen_runs(workspace, words, filters))]


def removable(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The runs of a filter that may be moved or lose files; prints why the others stay."""
    reasons = [_why_it_stays(run) for run in runs]
    for run, reason in zip(runs, reasons, strict=True):
        if reason:
            print(printable(f"{run.name} stays: {reason}"))
    return [run for run, reason in zip(runs, reasons, strict=True) if not reason]


def _why_it_stays(run: RunSummary) -> str:
    if not run.is_run:
        return "it is no run"
    if run.is_live:
        return f"its state is {run.state}"
    return "it is a link to another place" if run.folder.root.is_symlink() else ""
