"""The code that a run was made of, in a working tree of its own that is thrown away.

commit --git worktree--> + code/uncommitted.diff --git apply--> + code/untracked --copy--> the code
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlib.process.errors import UserError
from dlib.process.ranks import logger
from dlib.runs.folder import RunFolder
from dlib.runs.git_commands import run_git, top_folder

IN_PLACE = "--present_code runs the code that stands here"


@contextmanager
def recorded_code(run: RunFolder, record: Mapping[str, Any], top: Path, copy: Path) -> Iterator[Path]:
    """Check the run's commit out at `copy`, add what no commit holds, and remove all of it at the end.

    Raises:
        UserError: there is no commit, the repository of `top` does not have it, or the changes do not apply.
    """
    find_commit(run, record, top)
    try:
        copy_code(run, record, top, copy)
        yield copy
    finally:
        remove_copy(top, copy)


def copy_code(run: RunFolder, record: Mapping[str, Any], top: Path, copy: Path, advice: str = IN_PLACE) -> None:
    """Make `copy` a working tree of the code that `record` names and `run` keeps.

    Raises:
        UserError: it cannot be checked out, or the changes do not apply; `advice` is what to do.
    """
    commit = record["git"]["commit"]
    # No hooks: they are the user's, for trees that the user works in.
    add = ("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", "--force", str(copy), commit)
    _do(top, *add, failure=f"commit {commit} cannot be checked out; {advice}")
    _put_back_changes(run, record, copy, advice)


def remove_copy(top: Path, copy: Path) -> None:
    """Remove such a working tree, whatever of it is there."""
    # Not `prune` in any case: it also forgets the user's trees on drives that are not there now.
    if run_git(top, "worktree", "remove", "--force", "--force", str(copy)).returncode != 0 and copy.exists():
        shutil.rmtree(copy, ignore_errors=True)
        run_git(top, "worktree", "prune")


def find_commit(run: RunFolder, record: Mapping[str, Any], top: Path) -> str:
    """The run's commit, which this repository has."""
    git = record["git"]
    commit, remote = git["commit"], git["remote"]
    if commit is None:
        raise UserError(f"{run.record} names no commit, the run was made outside git; {IN_PLACE}")
    if top_folder(top) is None:
        raise UserError(f"{top} is no git repository, and cannot have commit {commit}; {IN_PLACE}")
    if run_git(top, "cat-file", "-e", f"{commit}^{{commit}}").returncode != 0:
        source = f"from {remote}" if remote else "from where the run was made"
        raise UserError(
            f"commit {commit} of run '{run.name}' is not in this repository: fetch it {source}, or {IN_PLACE}"
        )
    return str(commit)


def _put_back_changes(run: RunFolder, record: Mapping[str, Any], copy: Path, advice: str) -> None:
    """Add the run's uncommitted changes and untracked files to the copy."""
    code = record["code"]
    for recorded, path in ((code["diff"], run.uncommitted_diff), (code["untracked"], run.untracked)):
        if recorded and not path.exists():
            raise UserError(f"{path} is missing, though the record names it; {advice}")
    if code["diff"]:
        diff = str(run.uncommitted_diff.resolve())
        failure = f"{run.uncommitted_diff} does not apply to the run's commit; {advice}"
        _do(copy, "apply", "--index", "--whitespace=nowarn", diff, failure=failure)
    if run.untracked.is_dir():
        _copy_untracked(run.untracked, copy)
    for name, reason in code["left_out"].items():
        logger().warning("%s is not in the record of the code (%s), nor in the repetition", name, reason)
    if code["left_out_count"] > len(code["left_out"]):
        logger().warning("%d more files are not in the record", code["left_out_count"] - len(code["left_out"]))


def _copy_untracked(untracked: Path, copy: Path) -> None:
    """Copies the untracked files, none of them through a link: the commit or the diff may bring one that leads away."""
    for source in sorted(untracked.rglob("*")):
        name = source.relative_to(untracked)
        target = copy / name
        if source.is_symlink() or not (source.is_file() or source.is_dir()):
            raise UserError(f"{source} is no plain file: remove it from the run")
        # Parents come first: none of them is a link when what is below them is looked at.
        if target.is_symlink() or any(part.lower() == ".git" for part in name.parts):
            raise UserError(f"{source} would be written through a link or into .git: do not trust this run's code")
        try:
            # Not `copy`: onto a folder it would write below it, maybe through a link.
            target.mkdir(exist_ok=True) if source.is_dir() else shutil.copyfile(source, target)
        except OSError as error:
            raise UserError(f"{source} cannot be put back into the run's code: {error}") from error


def _do(folder: Path, *command: str, failure: str) -> None:
    done = run_git(folder, *command)
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", errors="replace").strip().rpartition("\n")[2]
        raise UserError(f"{failure} (git: {reason})")
