"""Whether a run may begin, where it continues, and how it ends: one name, one run, one process."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlib.args import ExperimentArgs
from dlib.config.configuration import dump_config, load_config
from dlib.process.durable import refusals_told, write_text_atomically
from dlib.process.errors import TrainingError, UserError, one_line
from dlib.process.failures import first_failure, left_for_first
from dlib.process.messages import kept_messages
from dlib.process.ranks import is_rank_zero, logger
from dlib.runs.branching import begin_branch, trunk_checkpoint
from dlib.runs.continuity import (
    has_another_goal,
    refuse_changes,
    refuse_other_data,
    warn_of_changes,
    with_new_goal,
    with_recorded_defaults,
    with_what_may_change,
)
from dlib.runs.ending import keep_failure, tell_end
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import BestMetric, best, newest_record
from dlib.runs.record import describe_session, write_record


@dataclass(frozen=True)
class Start:
    """Where a session begins: optimizer steps done, and their checkpoint, None at the run's beginning."""

    step: int
    checkpoint: Path | None


def is_finished(folder: RunFolder, args: ExperimentArgs) -> bool:
    """Whether the run has reached its goal, or was stopped because it was good enough; a new goal is still to come."""
    status, recorded = folder.read_status(), recorded_args(folder)
    if status is None or status.state != "finished":
        return False
    return status.reason is not None or recorded is None or not has_another_goal(args, recorded)


def recorded_args(folder: RunFolder) -> ExperimentArgs | None:
    """The arguments of the run's beginning, None where it never began."""
    if not folder.config.is_file():
        return None
    args = load_config([folder.config])
    # A run settles this when it begins; one without it comes from a time when each line was a document.
    return args if args.data.document != "auto" else replace(args, data=replace(args.data, document="line"))


def check(folder: RunFolder, args: ExperimentArgs) -> ExperimentArgs:
    """Refuse, before anything is built, a run that must not continue or began with other arguments; write nothing.

    Returns:
        The arguments, with what the run chose by itself when it began.
    """
    if folder.is_foreign():
        raise UserError(f"{folder.root} exists and is no run; choose another --name or --out_dir")
    if folder.config.is_dir():
        raise UserError(f"{folder.config} is a folder, where a run has a file: move it away")
    recorded = recorded_args(folder)
    if recorded is None:
        return args
    if args.run.resume == "never" and is_rank_zero():  # the other processes come when the run stands
        raise UserError(f"run '{folder.name}' exists and --resume is never; choose another --name")
    args = with_recorded_defaults(args, recorded)
    if has_another_goal(args, recorded):
        status = folder.read_status()
        args = with_new_goal(args, recorded, status.total_steps if status else 0)
    refuse_changes(args, recorded, folder)
    return args


@contextmanager
def opened(
    folder: RunFolder,
    args: ExperimentArgs,
    total_steps: int,
    description: Mapping[str, Any],
    repository: Path,
) -> Iterator[Start]:
    """Hold the run for this session: write what it is, or check that it is still the same.

    Only the first process holds and writes. A new run that fails by a mistake of the user leaves nothing behind.

    Args:
        folder: the run.
        args: what it computes.
        total_steps: optimizer steps of the whole run.
        description: `hashes` of its data; `devices`, what it computes on; `best`, the metric that says which checkpoint
            is the best; and the `card` of a model that learned it.
        repository: a folder in the code's working tree.

    Raises:
        UserError: another process holds the run, or it began with other arguments or data.
    """
    if not is_rank_zero():
        with left_for_first(folder.failures):
            yield first_checkpoint(folder, args)
        return
    check(folder, args)
    with (
        folder.hold() as is_in_place,
        _nothing_left_of_a_mistake(folder, is_in_place),
        kept_messages(folder.log),
    ):
        check(folder, args)  # again: another process may have begun it meanwhile
        refuse_other_data(folder, description["hashes"])
        start = first_checkpoint(folder, args)
        _refuse_beyond_goal(folder, start, total_steps)
        session = describe_session(folder, sys.argv, description["devices"], start.step, repository)
        warn_of_changes(folder, session, any_number=args.hardware.exact_reduce)
        with refusals_told(folder.root):
            session |= {"card": description["card"], "branch": args.run.branch, **_keep_arguments(folder, args)}
            write_record(folder, session, description["hashes"], repository)
            if start != last_checkpoint(folder):
                begin_branch(folder, args, description["hashes"])
                start = last_checkpoint(folder)
            _finish_saving(folder, start, args, description["best"])
            folder.write_status("running", start.step, total_steps, best=description["best"])
        with _told_in_status(folder, total_steps, is_in_place):
            yield start


def _keep_arguments(folder: RunFolder, args: ExperimentArgs) -> dict[str, str]:
    """Write config.yml of a new run, or what changed of an old one's; returns what the session's record says of it."""
    recorded = recorded_args(folder)
    kept = args if recorded is None else with_what_may_change(recorded, args)
    if kept != recorded:
        write_text_atomically(folder.config, dump_config(kept))
    interval = kept.durations.eval_interval
    is_same = recorded is None or recorded.durations.eval_interval == interval
    return {} if is_same else {"eval_interval": interval}


def _refuse_beyond_goal(folder: RunFolder, start: Start, total_steps: int) -> None:
    """Refuse a goal that is behind the step where a session begins; for a branch, that of its trunk, too."""
    if start != last_checkpoint(folder) and start.step >= total_steps:
        raise UserError(f"--branch: step {start.step} is at or beyond the goal of {total_steps}; give a longer one")
    if start.step > total_steps:
        raise UserError(f"{start.checkpoint} is beyond the run's goal of {total_steps} steps: move it away")


def _finish_saving(folder: RunFolder, start: Start, args: ExperimentArgs, metric: BestMetric) -> None:
    """Do what a kill kept from being done once the newest checkpoint was whole: move the links, remove the old."""
    if start.checkpoint is None:
        return
    folder.point("last", start.step)
    found = best(folder.metrics, metric, among={step for step, _ in folder.whole_checkpoints()})
    if found is not None:
        folder.point("best", found["step"])
    folder.remove_old_checkpoints(args.checkpoint.max_checkpoints, kept_steps(args))


@contextmanager
def _nothing_left_of_a_mistake(folder: RunFolder, is_in_place: Callable[[], bool]) -> Iterator[None]:
    """Remove a new run that a mistake of the user ended before its first record."""
    names = {path.name for path in folder.root.iterdir()} - {folder.job.name, folder.log.name}
    is_new = names == {folder.lock.name, folder.status.name}  # its holder's
    try:
        yield
    except UserError as error:
        is_mistake = not isinstance(error, TrainingError) and newest_record(folder.metrics) is None
        if is_new and is_mistake and is_in_place() and not folder.whole_checkpoints():
            folder.remove_all_but_job()
        raise


@contextmanager
def _told_in_status(folder: RunFolder, total_steps: int, is_in_place: Callable[[], bool]) -> Iterator[None]:
    """Write into status.json that an exception ended the session; an interrupt is no failure.

    Raises:
        TrainingError: the folder is no longer in its place, and nothing is written: it may be another run's by now.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if is_in_place():
            _end_status(folder, "preempted", total_steps)
        raise
    except BaseException as error:
        if not is_in_place():
            raise TrainingError(
                f"{folder.root} was moved or removed while the run trained, and nothing more was written there; put it "
                "back, or name its new --out_dir, and the same command goes on from the last checkpoint"
            ) from error
        reason = keep_failure(folder, error)
        _end_status(folder, "failed", total_steps, one_line(reason))
        raise


def _end_status(folder: RunFolder, state: str, total_steps: int, reason: str | None = None) -> None:
    """Write how the session ended, if the disk takes it; the error itself is told in any case."""
    try:
        folder.write_status(state, last_checkpoint(folder).step, total_steps, reason)
    except (UserError, OSError) as error:
        logger().error("the run's status does not say how it ended: %s", error)


def fail(folder: RunFolder, total_steps: int, reason: str) -> None:
    """Write that the session failed, where no exception will do so."""
    if is_rank_zero():
        keep_failure(folder, TrainingError(reason))
        _end_status(folder, "failed", total_steps, reason)


def cause_of_others(folder: RunFolder) -> str | None:
    """Why another process of the session failed, if one has said so, for the first, which tells it."""
    failure = first_failure(folder.failures) if is_rank_zero() else None
    return str(failure) if failure else None


def close(folder: RunFolder, state: str, step: int, total_steps: int, reason: str | None = None) -> None:
    """Write how a session ended, and tell the user; `reason` is why the run is finished before its goal."""
    if not is_rank_zero():
        return
    folder.write_status(state, step, total_steps, reason)
    tell_end(folder, state, step, total_steps, reason)


def last_checkpoint(folder: RunFolder) -> Start:
    """The newest whole checkpoint, by the folders: a kill may have left the link `last` one behind."""
    checkpoints = folder.whole_checkpoints()
    return Start(*checkpoints[-1]) if checkpoints else Start(0, None)


def first_checkpoint(folder: RunFolder, args: ExperimentArgs) -> Start:
    """Where a session of the run begins: its own last checkpoint, else that of the run which it branches from."""
    own = last_checkpoint(folder)
    trunk = trunk_checkpoint(args) if own.checkpoint is None else None
    return own if trunk is None else Start(*trunk)


def kept_steps(args: ExperimentArgs) -> list[int]:
    """Optimizer steps whose checkpoints stay for good."""
    return [*args.checkpoint.extra_steps, *args.durations.earlier_goals]
