"""The points of a sweep, the best first, over their seeds.

A point is a group of runs that differ in the seed only; what varies between points are columns. The numbers are those
of each run's best checkpoint, and the first point is the one that is best in the mean by the metric that says which
checkpoint is the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dlib.browse.listing import by_rank
from dlib.browse.quantities import Quantity, argument_of, best_record, metric_of, quantity
from dlib.browse.seeds import Group, groups_of, rank_of, varied_arguments
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.registry import summarize

SWEEP = "run.sweep"


@dataclass(frozen=True)
class Ranking:
    """Points of a sweep, the best first.

    Attributes:
        points: the runs of each.
        metric: the metric that says which is the best.
    """

    points: list[Group]
    metric: str

    @cached_property
    def varied(self) -> list[str]:
        """The full keys of the arguments in which points differ."""
        return varied_arguments(self.points)

    def values(self, group: Group) -> list[Any]:
        """What a point has of the arguments that vary."""
        return [argument_of(group[0].folder, key) for key in self.varied]

    @property
    def column(self) -> Quantity:
        """The metric as a column."""
        return metric_column(self.metric)

    @cached_property
    def metrics(self) -> list[str]:
        """The metric, then all others of evaluations."""
        names = (name for group in self.points for run in group for name in best_record(run.folder))
        return list(dict.fromkeys([self.metric, *(name for name in names if name.startswith("dev/"))]))


def metric_column(name: str) -> Quantity:
    """A metric as a column, also where some runs have not recorded it yet."""
    return Quantity(name, lambda run: metric_of(run.folder, name), "metric")


def are_points_of_a_sweep(folders: Sequence[RunFolder]) -> bool:
    """Whether runs are points of one sweep."""
    sweeps = {argument_of(folder, SWEEP) for folder in folders}
    return len(sweeps) == 1 and isinstance(sweeps.pop(), str)


def rank(folders: Sequence[RunFolder]) -> Ranking:
    """The points that runs belong to, the best first; those without a result come last.

    Raises:
        UserError: no run can be read, or their best checkpoints are chosen by different metrics.
    """
    runs = [summarize(folder) for folder in folders]
    groups = groups_of(runs)
    everyone = [run for group in groups for run in group]
    # A run that has only begun does not say it yet.
    judged = [run for run in everyone if run.folder.pointed_step("best") is not None] or everyone
    metrics = list(dict.fromkeys(run.folder.best_metric.key for run in judged))
    if len(metrics) != 1:
        raise UserError(
            f"compare: the best checkpoint is chosen by {', '.join(metrics) or 'nothing'}: choose runs of one"
        )
    best = quantity("best", "compare", runs)
    return Ranking(by_rank(groups, lambda group: rank_of(group, best), reverse=False), metrics[0])
