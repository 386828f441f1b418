"""`runs.py diff`: how two runs differ, as unified differences that other tools can read.

config.yml   git: commit, uncommitted changes, untracked files   packages   hardware   data
"""

import difflib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dlib.browse.tables import printable
from dlib.process.errors import UserError, ended_by_signals
from dlib.process.ranks import say
from dlib.reproduce.code_copy import recorded_code
from dlib.runs.folder import RunFolder
from dlib.runs.git_commands import run_git, top_folder
from dlib.runs.record import read_record

MACHINE_PARTS = ("hardware", "packages", "hashes")


def print_difference(old: RunFolder, new: RunFolder, project: Path) -> None:
    """Print the differences of two runs; `project` is in this repository, which may have the commits of both."""
    lines = [*_text_difference(old, new, old.config.name, _config(old), _config(new))]
    records = _record(old), _record(new)
    lines += _code_difference(old, new, records, project)
    for name in MACHINE_PARTS:
        texts = [json.dumps(record.get(name, {}), indent=2, sort_keys=True) + "\n" for record in records]
        lines += _text_difference(old, new, name, *texts)
    print(_shown("".join(lines).rstrip("\n")) if lines else "no difference")


def _shown(text: str) -> str:
    """The text without control characters: an imported run may hold anything."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def _record(folder: RunFolder) -> dict[str, Any]:
    record = read_record(folder)
    if record is None or not all(isinstance(record.get(part), dict) for part in ("git", "code", *MACHINE_PARTS)):
        raise UserError(f"{folder.record} is missing or damaged: there is nothing to compare")
    python, _, _ = str(record.get("python")).partition(" ")
    return record | {"packages": {**record.get("packages", {}), "python": python}}


def _code_difference(
    old: RunFolder, new: RunFolder, records: tuple[dict[str, Any], dict[str, Any]], project: Path
) -> Iterator[str]:
    """How the code differs: the whole trees where this repository has both commits, else what the records hold."""
    if _is_same_code(*records):
        return
    try:
        yield from _tree_difference(old, new, records, project)
    except UserError as error:
        say(f"the code is compared by the records alone: {error}")
        commits = [f"commit {record['git'].get('commit')}\n" for record in records]
        yield from _text_difference(old, new, "git", *commits)
        name = old.uncommitted_diff.name
        yield from _text_difference(old, new, name, _text(old.uncommitted_diff), _text(new.uncommitted_diff))
        for path in sorted(_untracked(old) | _untracked(new)):
            yield from _text_difference(old, new, path, _text(old.untracked / path), _text(new.untracked / path))


def _is_same_code(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    keys = ("commit", "uncommitted_sha256")
    return all(old["git"].get(key) == new["git"].get(key) for key in keys)


def _tree_difference(
    old: RunFolder, new: RunFolder, records: tuple[dict[str, Any], dict[str, Any]], project: Path
) -> list[str]:
    """What git says of the two trees, which are checked out for it and thrown away."""
    top = top_folder(project) or project
    with tempfile.TemporaryDirectory(prefix="dlib-diff-") as name, ended_by_signals(), ExitStack() as trees:
        # Named like git's own sides, so that the paths in the output are those of `git diff`.
        for side, run, record in zip("ab", (old, new), records, strict=True):
            trees.enter_context(recorded_code(run, record, top, Path(name, side)))
            trees.enter_context(_aside(Path(name, side) / ".git", Path(name, f"{side}.git")))
        done = run_git(Path(name), "diff", "--no-index", "--no-prefix", "--no-ext-diff", "a", "b")
    return [done.stdout.decode("utf-8", errors="replace")]


@contextmanager
def _aside(path: Path, other: Path) -> Iterator[None]:
    """Moves a file away and back: git's own file in each tree would be a difference too."""
    path.rename(other)
    try:
        yield
    finally:
        other.rename(path)


def _text_difference(old: RunFolder, new: RunFolder, name: str, before: str, after: str) -> Iterator[str]:
    """The lines of a unified difference of two texts, none where they are the same."""
    paths = f"{old.name}/{name}", f"{new.name}/{name}"
    for line in difflib.unified_diff(before.splitlines(True), after.splitlines(True), *paths):
        yield line if line.endswith("\n") else f"{line}\n"


def _config(folder: RunFolder) -> str:
    """The arguments, without the name and folder of the run, which always differ."""
    lines = _text(folder.config).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("  name: ", "  out_dir: ")))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _untracked(folder: RunFolder) -> set[str]:
    paths = folder.untracked.rglob("*") if folder.untracked.is_dir() else ()
    return {str(path.relative_to(folder.untracked)) for path in paths if path.is_file()}
