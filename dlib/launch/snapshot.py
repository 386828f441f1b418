"""The code of a job, kept as it was submitted: whoever edits on meanwhile does not change what is queued."""

import os
import shutil
from pathlib import Path

from dlib.process.errors import UserError
from dlib.process.ranks import logger
from dlib.reproduce.code_copy import copy_code, remove_copy
from dlib.runs.folder import RunFolder
from dlib.runs.git_commands import top_folder
from dlib.runs.working_tree import NO_ANSWER, describe_git, save_uncommitted_code


def take_snapshot(project: Path, code: Path) -> None:
    """Make `code` a copy of the project: a working tree of git, of the same commit, with all that no commit holds.

    So a run's record names the commit and the changes, as if it had been started in the project itself. Where there is
    no git, no commit, or a repository around the project, the folder is linked, and what is queued changes with it.

    Raises:
        UserError: the commit cannot be checked out, or git does not tell what no commit holds.
    """
    top = top_folder(project)
    record = {"git": describe_git(project)}
    if top is None or top != project.resolve() or record["git"]["commit"] is None:
        logger().warning(
            "%s has no commit of git of its own: the job will run the code as it then stands there", project
        )
        code.symlink_to(project, target_is_directory=True)
        return
    changes = RunFolder(code.with_name(".changes"))
    try:
        record["code"] = save_uncommitted_code(changes, project)
        if NO_ANSWER in record["code"]["left_out"].values():
            raise UserError(
                f"{project}: git does not tell what is uncommitted, and a job would do without it; try again"
            )
        copy_code(changes, record, top, code, f"no copy of {project} can be made for the job")
    finally:
        shutil.rmtree(changes.root, ignore_errors=True)


def remove_snapshot(project: Path, code: Path) -> None:
    """Remove what `take_snapshot` made, whatever of it is there."""
    if code.is_symlink():
        code.unlink()
    elif os.path.lexists(code):
        remove_copy(top_folder(project) or project, code)
