"""`runs.py drop`: runs move to the workspace's trash, whose emptying removes them for good.

    runs/first --rename--> runs/.trash/first-20260102T030405Z --purge--> nothing

Moving it back restores the run. Nothing outside the workspace is touched: a run that is a link to another place is
refused, and inside a run links are removed and not followed.
"""

import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from dlib.browse.asking import agrees
from dlib.browse.listing import run_table, selected
from dlib.browse.selection import chosen_runs, find_named, removable
from dlib.browse.tables import printable, shown_size
from dlib.process.durable import sync
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import is_held, refuse_live
from dlib.runs.registry import RunSummary, find_trash, summarize, tree_bytes


def drop_runs(workspace: Path, words: Sequence[str], filters: Sequence[str], *, purge: bool, yes: bool) -> None:
    """Move runs to the trash, after showing them and asking; then, with `purge`, empty it.

    The runs are those that `words` name, or else all of the workspace, as far as they meet the filters.

    Raises:
        UserError: nothing is named, or one of the named runs cannot be dropped: then none is.
    """
    if not (words or filters or purge):
        raise UserError("drop: name runs, or choose them with --filter, or empty the trash with --purge")
    trash = find_trash(workspace)
    chosen = (
        _named(workspace, words, filters)
        if words
        else removable(chosen_runs(workspace, (), filters))
        if filters
        else []
    )
    if chosen:
        print("\n".join(run_table(chosen)))
        size = shown_size(sum(run.size_bytes for run in chosen))
        s = "s" * (len(chosen) > 1)
        if not agrees(f"Move {len(chosen)} run{s} ({size}) to {trash}?", yes=yes):
            return
        for run in chosen:
            _move(run.folder, trash)
        for folder in (trash, workspace):  # once for all: a flush for each would take most of the time
            sync(folder)
        print(f"moved {len(chosen)} run{s} ({size}) to {trash}")
    elif words or filters:
        print("no run to drop")
    if purge:
        _purge(trash, yes=yes)


def _named(workspace: Path, words: Sequence[str], filters: Sequence[str]) -> list[RunSummary]:
    folders = {word: find_named(word, workspace) for word in words}
    for word, folder in folders.items():
        _refuse_outside(word, folder, workspace)
        refuse_live(folder)
    return selected([summarize(folder) for folder in {f.root.name: f for f in folders.values()}.values()], filters)


def _refuse_outside(word: str, folder: RunFolder, workspace: Path) -> None:
    if folder.root.is_symlink():
        raise UserError(f"'{word}' is a link to another place: remove the link, or drop the run where it is")
    if folder.root.resolve().parent != workspace.resolve():
        raise UserError(f"'{word}' is not in {workspace}: name its workspace with --out_dir")


def _move(folder: RunFolder, trash: Path) -> None:
    """Moves a run to the trash, locked, so that no process resumes it meanwhile."""
    time = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    try:
        trash.mkdir(exist_ok=True)
        with folder.locked():
            target = trash / f"{folder.name}-{time}"
            number = 1
            while os.path.lexists(target):
                number += 1
                target = trash / f"{folder.name}-{time}-{number}"
            folder.root.rename(target)
    except OSError as error:
        raise UserError(f"run '{folder.name}' cannot be moved to {trash}: {error.strerror}") from error


def _purge(trash: Path, *, yes: bool) -> None:
    """Removes what is in the trash, after asking; an import that is still unpacking there stays."""
    there = sorted(trash.iterdir()) if trash.is_dir() else []
    doomed = [path for path in there if not path.is_dir() or is_held(RunFolder(path)) is False]
    for path in there:
        if path not in doomed:
            print(printable(f"{path.name} stays: a process may hold it"))
    if not doomed:
        print("nothing to remove" if there else "the trash is empty")
        return
    size = shown_size(sum(_size(path) for path in doomed))
    print("\n".join(printable(path.name) for path in doomed))
    if not agrees(f"Remove {len(doomed)} from {trash} ({size}) for good?", yes=yes):
        return
    try:
        for path in doomed:
            path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error
    print(f"removed {len(doomed)} ({size})")


def _size(path: Path) -> int:
    return tree_bytes(path) if path.is_dir() and not path.is_symlink() else path.lstat().st_size
