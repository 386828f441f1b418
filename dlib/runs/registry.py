"""The runs of a workspace, the folder that `--out_dir` names, with a summary of each.

Listing a thousand runs takes a moment: no long file is read whole, no heavy library is imported, nothing is cached.
Whatever stands in the workspace gets its line, also what is no run.
"""

import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import KILLED, LIVE_STATES, UNKNOWN, actual_state, is_held
from dlib.runs.metrics_log import DEV_LOSS, decode, is_number, newest_record, record_of_step
from dlib.runs.status import STATES, Status

NOT_BEGUN, HALF_WRITTEN, DAMAGED, FOREIGN = "not begun", "half-written", "damaged", "foreign"
SHOWN_STATES = (*STATES, KILLED, UNKNOWN, NOT_BEGUN, HALF_WRITTEN, DAMAGED, FOREIGN)
TRASH_NAME = ".trash"
_PATHS = RunFolder(Path())
_CONFIG, _STATUS, _RECORD, _JOB = (path.name for path in (_PATHS.config, _PATHS.status, _PATHS.record, _PATHS.job))
_LINKED_STEP = re.compile(r"step-(\d+)/?")


@dataclass(frozen=True)
class RunSummary:
    """What a listing tells of one folder of a workspace."""

    folder: RunFolder  # where it is
    state: str  # one of `SHOWN_STATES`
    step: int | None  # optimizer steps done
    total_steps: int | None  # optimizer steps of the whole run
    # dev loss of the best checkpoint, in nats a target token; a word where it is not finite or no number
    dev_loss: float | str | None
    time: float  # when its status was last written, in seconds since the epoch
    size_bytes: int  # of all files
    note: str = ""  # what is wrong with it, or why it failed

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def is_run(self) -> bool:
        """Whether it is one of our runs, in whatever condition."""
        return self.state != FOREIGN

    @property
    def is_live(self) -> bool:
        """Whether a process may be writing there."""
        return self.state in (*LIVE_STATES, UNKNOWN)


def list_runs(workspace: Path) -> list[RunSummary]:
    """A summary of each folder of a workspace, by name; dotted names are left out.

    Raises:
        UserError: there is no such folder.
    """
    try:
        with os.scandir(workspace) as entries:
            names = sorted(entry.name for entry in entries if entry.name[0] != "." and _leads_to_folder(entry))
    except OSError as error:
        raise UserError(f"--out_dir {workspace}: {error.strerror or error}") from error
    return [summarize(RunFolder(workspace / name)) for name in names]


def find_run(word: str, workspace: Path) -> RunFolder:
    """The run that a user means: a name in the workspace, or a path.

    Raises:
        UserError: there is no such folder, or it is no run.
    """
    is_name = "/" not in word and word not in ("", ".", "..")
    places = [workspace / word, Path(word)] if is_name else [Path(word)]
    path = next((place for place in places if place.is_dir()), None)
    if path is None:
        where = f" in {workspace}: see runs.py list, or name its --out_dir" if is_name else ""
        raise UserError(f"no run '{word}'{where}")
    folder = RunFolder(path if path.name else path.resolve())
    try:
        is_run = not folder.is_foreign() and any(path.iterdir())
    except OSError as error:
        raise UserError(f"'{word}' cannot be read: {error.strerror}") from error
    if not is_run:
        raise UserError(f"'{word}' is no run")
    return folder


def find_trash(workspace: Path) -> Path:
    """Where dropped runs go; it need not exist yet.

    Raises:
        UserError: there is no such workspace, or its trash is a link or a file.
    """
    if not workspace.is_dir():
        raise UserError(f"--out_dir {workspace}: there is no such folder")
    trash = workspace / TRASH_NAME
    if trash.is_symlink() or (trash.exists() and not trash.is_dir()):
        raise UserError(f"{trash} is no folder of the workspace: remove it first")
    return trash


def summarize(folder: RunFolder) -> RunSummary:
    """The summary of a folder, whatever it holds."""
    path = str(folder.root)
    try:
        with os.scandir(path) as entries:
            sizes = {entry.name: _size(entry) for entry in entries}
        modified = os.stat(path).st_mtime
    except OSError as error:
        return RunSummary(folder, DAMAGED, None, None, None, 0.0, 0, f"cannot be read: {error.strerror}")
    status = folder.read_status()
    problem = _problem(folder, sizes, status)
    state = actual_state(status.state, status.host, folder) if status and not problem else ""
    return RunSummary(
        folder,
        problem[0] if problem else state,
        _step(folder, status),
        status.total_steps if status else None,
        _best_dev_loss(folder),
        _seconds(status) or modified,
        sum(sizes.values()),
        problem[1] if problem else (status.reason if status else None) or "",
    )


def tree_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    with os.scandir(folder) as entries:
        return sum([_size(entry) for entry in entries])


def _problem(folder: RunFolder, sizes: dict[str, int], status: Status | None) -> tuple[str, str] | None:
    """State and fault of a folder that is not a whole run; None for a whole one."""
    if _CONFIG not in sizes:
        if folder.is_foreign() or not sizes:
            return FOREIGN, "no run of this program"
        if is_held(folder):
            return None if status else (HALF_WRITTEN, "about to begin")
        if _JOB in sizes:
            return NOT_BEGUN, "it has a job: jobs.py status tells whether that waits, or has ended"
        return HALF_WRITTEN, f"ended before its {_CONFIG} was written"
    if status is None:
        return DAMAGED, f"{_STATUS} is missing or damaged"
    begun = (_CONFIG, *([_RECORD] if status.step else []))
    for name in begun:
        if not sizes.get(name):
            return DAMAGED, f"{name} is {'empty' if name in sizes else 'missing'}"
    return None


def _step(folder: RunFolder, status: Status | None) -> int | None:
    """Steps done: a finished run's status knows; of others the metrics may know more."""
    if status is not None and status.state == "finished":
        return status.step
    recorded = newest_record(folder.metrics)
    steps = [status.step if status else None, recorded["step"] if recorded else None]
    return max((step for step in steps if isinstance(step, int)), default=None)


def _best_dev_loss(folder: RunFolder) -> float | str | None:
    """The dev loss of the best checkpoint, by its link: no folder is searched."""
    try:
        match = _LINKED_STEP.fullmatch(os.readlink(folder.best))
    except OSError:
        return None
    record = record_of_step(folder.metrics, int(match[1])) if match else None
    value = record.get(DEV_LOSS) if record else None
    return value if value is None or is_number(decode(value)) else DAMAGED


def _seconds(status: Status | None) -> float | None:
    """When the status was written."""
    try:
        return datetime.fromisoformat(status.time).timestamp() if status else None
    except (TypeError, ValueError):
        return None


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _size(entry: "os.DirEntry[str]") -> int:
    """Bytes of a file, or of all files below a folder; links count as what they are."""
    try:
        if entry.is_dir(follow_symlinks=False):
            with os.scandir(entry.path) as entries:
                return sum([_size(inner) for inner in entries])
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # it is being removed meanwhile
        return 0
