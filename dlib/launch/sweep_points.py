"""The points of a sweep as runs: the command of each, and where it stands."""

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlib.args import ExperimentArgs
from dlib.browse.listing import shown_step
from dlib.browse.quantities import argument_of
from dlib.browse.tables import shown_number, table
from dlib.config.configuration import parse_args
from dlib.config.corpora import corpus_text
from dlib.config.durations import parse_duration
from dlib.config.fields import flag_of
from dlib.launch.grids import Point
from dlib.launch.job import SWEEPS
from dlib.launch.sweep_file import Sweep
from dlib.process.errors import UserError
from dlib.runs import session
from dlib.runs.branching import with_trunk
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import LIVE_STATES, UNKNOWN
from dlib.runs.registry import NOT_BEGUN, RunSummary, summarize

GOAL = "durations.training_goal"
SHORTER = "shorter"


@dataclass(frozen=True)
class SweepOrder:
    """A sweep, and what was given with it.

    Attributes:
        sweep: what the file says.
        config_paths: configuration files, the sweep's own first.
        flags: further flags of `train.py`, as they were typed.
        args: the arguments that all points share.
        retry_failed: whether points that failed are tried again.
        any_goal: whether a run that is finished for another goal is finished; `status` is asked without the flags.
    """

    sweep: Sweep
    config_paths: Sequence[Path]
    flags: Sequence[str]
    args: ExperimentArgs
    retry_failed: bool = False
    any_goal: bool = False

    @property
    def workspace(self) -> Path:
        """The folder of the runs."""
        return Path(self.args.run.out_dir)

    @property
    def folder(self) -> Path:
        """Where logs and jobs of the sweep stand."""
        return self.workspace / SWEEPS / self.sweep.name

    @property
    def points(self) -> list[Point]:
        """All points."""
        return self.sweep.points(self.args.run.seed)

    def command(self, point: Point) -> list[str]:
        """The words after `python` that train a point, and go on with it."""
        name = self.sweep.name
        group = [] if self.args.tracking.wandb_group else ["--wandb_group", name]
        return [
            "train.py",
            *(["--config_path", *map(str, self.config_paths)] if self.config_paths else []),
            *flags_of_settings(self.sweep.settings),
            *self.flags,
            *flags_of_settings(point.settings),
            *("-n", point.name, "--out_dir", str(self.workspace), "--sweep", name, *group),
        ]


def flags_of_settings(settings: Mapping[str, Any]) -> list[str]:
    """Values as they are written in a file, as flags."""
    return [word for key, value in settings.items() for word in _flag(flag_of(key), value)]


def _flag(flag: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [flag, *(f"{name}={item}" for name, item in value.items())]
    if isinstance(value, list):
        return [flag, *(corpus_text(item, flag) if isinstance(item, Mapping) else str(item) for item in value)]
    text = "none" if value is None else str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


@dataclass(frozen=True)
class PointState:
    """Where a point stands."""

    point: Point
    state: str  # one of the registry's `SHOWN_STATES`, or `SHORTER`: finished for a shorter goal
    summary: RunSummary | None = None  # of its run, where it has begun

    @property
    def is_live(self) -> bool:
        """Whether a process may hold it."""
        return self.state in (*LIVE_STATES, UNKNOWN)

    def is_due(self, *, retry_failed: bool) -> bool:
        """Whether it is to be started, or to go on."""
        return not self.is_live and self.state != "finished" and (self.state != "failed" or retry_failed)


def state_of(order: SweepOrder, point: Point) -> PointState:
    """Where a point stands, by the folder of its run."""
    folder = RunFolder(order.workspace / point.name)
    if not folder.root.is_dir():
        return PointState(point, NOT_BEGUN)
    summary = summarize(folder)
    is_reached = order.any_goal or bool(summary.note)  # with a note it has ended before its goal, for good
    if summary.state == "finished" and not is_reached and _has_another_goal(order, point, folder):
        return PointState(point, SHORTER, summary)
    return PointState(point, summary.state, summary)


def _has_another_goal(order: SweepOrder, point: Point, folder: RunFolder) -> bool:
    """Whether a finished run would go on, as the sweep says another goal by now."""
    goals = (point.settings.get(GOAL, order.args.durations.training_goal), argument_of(folder, GOAL))
    try:
        wanted, reached = (parse_duration(str(goal), "--training_goal") for goal in goals)
    except UserError:  # a reference, ${...}: train.py knows it
        return False
    return wanted != reached


def refuse_other_arguments(order: SweepOrder, found: Sequence[PointState]) -> None:
    """Refuse a sweep of which a point is finished, but began with other arguments than it has by now.

    It would be left alone, and pass for a result of what the files say.
    """
    for each in found:
        if each.state == "finished" and each.summary is not None:
            session.check(
                each.summary.folder, with_trunk(parse_args(order.command(each.point)[1:], description="")).args
            )


def states(order: SweepOrder) -> list[PointState]:
    """Where all points stand."""
    return [state_of(order, point) for point in order.points]


def ledger(found: Sequence[PointState], *, as_json: bool) -> Iterator[str]:
    """The table of all points, what is wrong with some, and how many there are of each state; or an object a line."""
    if as_json:
        yield from (json.dumps({"index": e.point.index, "run": e.point.name, "state": e.state}) for e in found)
        return
    rows = [(each.point.index, each.point.name, each.state, *_numbers(each.summary)) for each in found]
    yield from table(rows, ("index", "run", "state", "step", "dev loss"), (0, 3, 4))
    notes = [
        f"{each.point.name} is {each.state}: {each.summary.note}"
        for each in found
        if each.summary and each.summary.note
    ]
    yield from ["", *notes] if notes else ()
    yield ""
    yield counted(found)


def _numbers(summary: RunSummary | None) -> tuple[str | None, str | None]:
    return (None, None) if summary is None else (shown_step(summary), shown_number(summary.dev_loss))


def counted(found: Sequence[PointState]) -> str:
    """How many points there are of each state, in words."""
    counts = Counter(each.state for each in found)
    return f"{len(found)} points: {', '.join(f'{count} {state}' for state, count in counts.items())}"


def listed(order: SweepOrder, *, as_json: bool) -> Iterator[str]:
    """Each index with its run and its settings."""
    points = order.points
    if as_json:
        yield from (json.dumps({"index": p.index, "run": p.name, "settings": p.settings}) for p in points)
        return
    rows = [(point.index, point.name, shlex.join(flags_of_settings(point.settings))) for point in points]
    yield from table(rows, ("index", "run", "settings"), (0,))
