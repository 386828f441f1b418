"""A job, written into its folder and handed to its launcher; what is refused leaves nothing behind."""

import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from dlib.launch.job import Job
from dlib.launch.launchers import GONE, JobState, make_launcher, shown_number
from dlib.launch.snapshot import remove_snapshot, take_snapshot
from dlib.process.durable import refusals_told, write_text_atomically
from dlib.process.errors import UserError, one_line
from dlib.process.ranks import logger, say
from dlib.runs.liveness import UNKNOWN

Key = TypeVar("Key", bound=Hashable)


def submit_job(job: Job, project: Path, write: Callable[[], None] = lambda: None) -> str:
    """Write the script, copy the code of `project`, and start the job; returns its number.

    Args:
        job: what is to run.
        project: the folder of the code.
        write: puts what the job reads besides into its folder.

    Raises:
        UserError: a job of this folder still waits or runs, or is just being submitted; or the launcher refuses, and
            nothing is left that was not there before.
    """
    launcher = make_launcher(job.cluster.launcher)
    text = launcher.script(job)
    made = [folder for folder in (job.folder, *job.folder.parents) if not folder.exists()]
    with refusals_told(job.folder), _claimed(job):
        refuse_live_job(job.folder, job.handle)
        remove_snapshot(project, job.code)
        try:
            write()
            take_snapshot(project, job.code)
            write_text_atomically(job.script, text)
            number = launcher.submit(job)
        except UserError:
            _clear(job, project, made)
            raise
        write_text_atomically(job.id_file, f"{job.cluster.launcher} {number}\n")
    return number


@contextmanager
def _claimed(job: Job) -> Iterator[None]:
    """Make the folder of a job, and keep all others from submitting one of it meanwhile.

    Raises:
        UserError: somebody else does so at this moment.
    """
    from filelock import FileLock, Timeout  # here: it takes longer to import than the help to be shown

    job.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(job.folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except (Timeout, RuntimeError) as error:  # RuntimeError: the holder is this very process
        raise UserError(f"a job of '{job.handle}' is being submitted at this moment: see jobs.py status") from error
    try:
        yield
    finally:
        lock.release()


def _clear(job: Job, project: Path, made: Sequence[Path]) -> None:
    """Remove what a refused job left, and the folders that were made for it; of an earlier job its log stays."""
    remove_snapshot(project, job.code)
    job.script.unlink(missing_ok=True)
    if job.folder in made and read_id(job.folder) is None:  # else another submission was faster, and has ended
        shutil.rmtree(job.folder)
    with suppress(OSError):  # somebody else has put something there meanwhile
        for folder in made[1:]:
            folder.rmdir()


def read_id(folder: Path) -> tuple[str, str] | None:
    """Launcher and number of the job whose folder it is; None where none was submitted."""
    try:
        launcher, number = (folder / "id").read_text(encoding="utf-8").strip().split(" ", 1)
    except (OSError, ValueError):
        return None
    return launcher, number


def states_of(ids: Mapping[Key, tuple[str, str]]) -> dict[Key, JobState]:
    """Where jobs stand, each by its launcher and number; each launcher is asked once for all of its own."""
    numbers: dict[str, list[str]] = {}
    for name, number in ids.values():
        numbers.setdefault(name, []).append(number)
    states = {name: make_launcher(name).states(several) for name, several in numbers.items()}
    return {key: states[name][number] for key, (name, number) in ids.items()}


def known_states_of(ids: Mapping[Key, tuple[str, str]]) -> dict[Key, JobState]:
    """Where jobs stand, as `states_of`; unknown, with a warning that says why, where a launcher does not answer."""
    states: dict[Key, JobState] = {}
    for launcher in dict.fromkeys(name for name, _ in ids.values()):
        own = {key: found for key, found in ids.items() if found[0] == launcher}
        try:
            states |= states_of(own)
        except UserError as error:
            logger().warning("%s", one_line(str(error)))
            states |= dict.fromkeys(own, JobState(UNKNOWN))
    return states


def state_of(folder: Path) -> JobState:
    """Where the job of a folder stands."""
    found = read_id(folder)
    return states_of({folder: found})[folder] if found else JobState(GONE)


def cancel_job(folder: Path) -> None:
    """End the job of a folder for good.

    Raises:
        UserError: it has ended, or its launcher refuses.
    """
    if found := read_id(folder):
        if (state := state_of(folder)).is_over:
            raise UserError(f"job {shown_number(found[1])} has ended already: {state.word}")
        make_launcher(found[0]).cancel(found[1])
        say(f"job {shown_number(found[1])} is told to end")


def requeue_job(folder: Path) -> None:
    """Have the job of a folder start again, its starts without progress forgotten."""
    if found := read_id(folder):
        make_launcher(found[0]).requeue(found[1])
        for starts in folder.glob("starts*.txt"):
            with refusals_told(starts):
                starts.write_text("", encoding="utf-8")
        say(f"job {shown_number(found[1])} is back in the queue")


def refuse_live_job(folder: Path, name: str) -> None:
    """Refuse a second job for the same folder while the first one waits or runs."""
    found = read_id(folder)
    if found is not None and not (state := state_of(folder)).is_over:
        raise UserError(
            f"'{name}' has job {shown_number(found[1])}, which is {state.word}: see jobs.py logs -f {name}, or end it: "
            f"jobs.py cancel {name}"
        )
