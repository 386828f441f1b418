"""The jobs of a workspace, found by their folders; and with its runs as a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlib.browse.tables import table
from dlib.launch.job import LINKS, OTHER_JOBS, SWEEPS, log_of
from dlib.launch.launchers import GONE, RUNNING, JobState, shown_number, task_number
from dlib.launch.submission import known_states_of, read_id, states_of
from dlib.process.errors import UserError
from dlib.runs.liveness import KILLED, UNKNOWN
from dlib.runs.paths import RunPaths
from dlib.runs.registry import RunSummary, list_runs

HEADER = ("name", "run", "step", "job", "state", "why, when, where")


@dataclass(frozen=True)
class Listed:
    """A run, a job, or both."""

    name: str  # what the user calls it
    run: RunSummary | None  # the run, where there is one
    number: str | None  # the job's, where there is one
    state: JobState | None  # where the job stands


def job_folders(workspace: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of each job of a workspace."""
    for path in sorted(workspace.glob("*/job/id")):
        yield path.parents[1].name, path.parent
    for place in (OTHER_JOBS, SWEEPS):
        for path in sorted(workspace.glob(f"{place}/*/id")):
            yield path.parent.name, path.parent


def tasks_of_runs(workspace: Path) -> dict[Path, tuple[str, str]]:
    """Launcher and number of the task of an array, by the folder of the run that it trains."""
    return {
        link.resolve(): (array[0], task_number(array[1], link.name))
        for folder in sorted(workspace.glob(f"{SWEEPS}/*"))
        if (array := read_id(folder))
        for link in folder.glob(f"{LINKS}/*")
    }


def has_live_job(runs: Sequence[RunPaths]) -> bool:
    """Whether a job waits or runs that trains one of some runs: one of its own, or a task of an array.

    Raises:
        UserError: nobody answers.
    """
    tasks = {workspace: tasks_of_runs(workspace) for workspace in {run.root.parent for run in runs}}
    found = (job for run in runs for job in (read_id(run.job), tasks[run.root.parent].get(run.root.resolve())))
    return any(not state.is_over for state in states_of({job: job for job in found if job}).values())


def find_job(word: str, workspace: Path) -> Path:
    """The folder of the job that a user means.

    Raises:
        UserError: there is none.
    """
    folders = [folder for name, folder in job_folders(workspace) if name == word]
    places = [*folders, Path(word), RunPaths(Path(word)).job]
    found = next((place for place in places if read_id(place) is not None), None)
    if found is None:
        raise UserError(f"no job of '{word}' in {workspace}: see jobs.py status, or name its --out_dir")
    return found


def refuse_other_index(folder: Path, word: str, index: str | None) -> None:
    """Refuse to show the log of an array without an index that it has, or of another job with one."""
    indexes = sorted((path.name for path in (folder / LINKS).glob("[0-9]*")), key=int)
    if index is not None and not indexes:
        raise UserError(f"--index {index}: '{word}' is no array; leave it out")
    if indexes and index not in indexes:
        begun = [each for each in indexes if log_of(folder, each).exists()]
        which = f"those that have begun: {', '.join(begun)}" if begun else "none of them has begun"
        raise UserError(f"'{word}' is an array: give --index, 0 to {indexes[-1]}; {which}")


def print_status(workspace: Path, words: list[str]) -> None:
    """Print all runs and jobs of a workspace, or those that are named."""
    wanted = {find_job(word, workspace).resolve() for word in words}
    rows = [_row(one) for one in _listed(workspace, wanted)]
    print("\n".join(table(rows, HEADER, numbers=(2,))) if rows else f"no runs and no jobs in {workspace}")


def _listed(workspace: Path, wanted: set[Path]) -> Iterator[Listed]:
    """The runs with their jobs, then other jobs; `wanted` empty: all."""
    jobs = {folder.resolve(): name for name, folder in job_folders(workspace)}
    runs = list_runs(workspace)
    of_runs = {run.folder.job.resolve(): run for run in runs if run.is_run}
    folders = [folder for folder in dict.fromkeys([*of_runs, *jobs]) if not wanted or folder in wanted]
    tasks = tasks_of_runs(workspace)
    ids = {folder: found for folder in folders if (found := read_id(folder) or tasks.get(folder.parent))}
    states = known_states_of(ids)
    for folder in folders:
        run, state = of_runs.get(folder), states.get(folder)
        if state is not None and state.word == GONE and folder not in jobs:  # this array may not have had it
            state = None
        number = shown_number(ids[folder][1]) if state else None
        yield Listed(run.name if run else jobs[folder], run, number, state)


def _row(one: Listed) -> tuple[str | int | None, ...]:
    run, state = one.run, one.state
    run_state = actual_run_state(run.state, state) if run else None
    return one.name, run_state, run.step if run else None, one.number, state.word if state else None, _why(state)


def actual_run_state(run: str, job: JobState | None) -> str:
    """The state of a run, where its own host is out of sight and its job is asked instead."""
    if run != UNKNOWN or job is None or job.word == UNKNOWN:
        return run
    return RUNNING if not job.is_over else KILLED


def _why(state: JobState | None) -> str | None:
    if state is None:
        return None
    reason = state.reason if state.reason != "None" else ""
    where = () if state.is_over else (state.start if state.start != "N/A" else "", state.nodes)
    return ", ".join(filter(None, (state.tasks, reason, *where))) or None
