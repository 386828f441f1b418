"""What stands beside a token store while it is built: its lock, and folders of builds, some of them dead.

It stands apart from the building, which goes on from what dead builds left: here is all that tells who is dead.
"""

import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

BUILDING = ".building-"


def lock_file(folder: Path) -> Path:
    """What a process locks that builds the store in `folder`."""
    return folder.with_name(f".{folder.name}.lock")


def folder_beside(folder: Path) -> Path:
    """A name of its own for each build: processes of a killed one may go on writing for a moment."""
    return folder.with_name(f".{folder.name}{BUILDING}{uuid.uuid4().hex[:8]}")


def builds_of(folder: Path) -> list[Path]:
    """The builds of a store, whose lock the caller has: dead ones, and its own."""
    return [*folder.parent.glob(f".{folder.name}{BUILDING}*")]


def remove_dead_builds(folder: Path) -> None:
    """Remove what killed builds of other stores left. Who has the lock of a store knows that nobody else builds it."""
    for beside in folder.parent.glob(f".*{BUILDING}*"):
        owner = folder.with_name(beside.name[1:].split(BUILDING)[0])
        if owner == folder:
            continue
        with suppress(Timeout), FileLock(lock_file(owner), timeout=0):
            shutil.rmtree(beside, ignore_errors=True)
