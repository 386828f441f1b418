"""The curves of runs, a metric over optimizer steps, tokens or hours of training, and as text: a letter a curve."""

import itertools
import math
import shutil
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlib.browse.quantities import whole_name
from dlib.browse.tables import printable, shown_number
from dlib.config.spelling import did_you_mean
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import DEV_LOSS, is_number, read_metrics

TRAIN_LOSS = "train/loss"
DEFAULT_METRICS = (TRAIN_LOSS, DEV_LOSS)
TOKENS, SPEED = "train/tokens", "performance/tokens_per_second"
SECONDS_AN_HOUR = 3600
MARKS = "*o+x#%@&"
SEVERAL = ":"
"""Where several curves meet."""
HEIGHT = 16
LABEL_WIDTH = 10


@dataclass(frozen=True)
class Curve:
    """A metric of a run: values `ys`, which need not be finite, at growing places `xs`."""

    run: str
    metric: str
    xs: list[float]
    ys: list[float]


def read_curves(runs: Sequence[RunFolder], metrics: Sequence[str], x: str) -> list[Curve]:
    """The curves of `metrics` (none: the training and the dev loss) over `x`: "step", "tokens" or "hours" of training.

    A run that never recorded one of them has no such curve. Hours leave out evaluations and saving.

    Raises:
        UserError: no run recorded one of the metrics, or one did not record what the axis needs.
    """
    of_runs = [
        {curve.metric: curve for curve in all_curves(run, label, x)}
        for run, label in zip(runs, _labels(runs), strict=True)
    ]
    named = recorded_metrics(metrics or (TRAIN_LOSS,), {metric for curves in of_runs for metric in curves})
    drawn = named if metrics else DEFAULT_METRICS
    return [curves[metric] for curves in of_runs for metric in drawn if metric in curves]


def recorded_metrics(words: Sequence[str], recorded: Collection[str]) -> list[str]:
    """The metrics among `recorded` that words mean: `dev/accuracy`, or `accuracy` where no other one ends so.

    Raises:
        UserError: no run recorded one, or several end so; the line names likely ones.
    """
    metrics = [whole_name(word, recorded, "--metric") for word in words]
    for metric in metrics:
        if metric not in recorded:
            raise UserError(_no_metric(metric, sorted(recorded)))
    return metrics


def all_curves(run: RunFolder, label: str, x: str) -> list[Curve]:
    """The curve of each quantity that a run recorded, over `x`; raises UserError as `read_curves` does."""
    records, measured = read_metrics(run.metrics), read_metrics(run.performance)
    places = _places(run, records, measured, x)
    points: dict[str, list[tuple[float, float]]] = {}
    for record in (*records, *measured):
        for name, value in record.items():
            if name != "step" and is_number(value) and record["step"] in places:
                points.setdefault(name, []).append((places[record["step"]], float(value)))
    return [Curve(label, name, [px for px, _ in pairs], [py for _, py in pairs]) for name, pairs in points.items()]


def training_hours(records: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Hours of training up to each logged step, from the tokens in between and their speed; empty where unknown."""
    speeds = {record["step"]: record[SPEED] for record in measured if is_number(record.get(SPEED)) and record[SPEED]}
    hours, tokens, total = {}, 0.0, 0.0
    for record in records:
        if is_number(record.get(TOKENS)) and record["step"] in speeds:
            total += (record[TOKENS] - tokens) / speeds[record["step"]] / SECONDS_AN_HOUR
            tokens = record[TOKENS]
            hours[record["step"]] = total
    return hours


def _places(
    run: RunFolder, records: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]], x: str
) -> dict[int, float]:
    """Where each recorded step stands on the axis."""
    steps = sorted({record["step"] for record in (*records, *measured)})
    if x == "step":
        return {step: float(step) for step in steps}
    tokens = {record["step"]: float(record[TOKENS]) for record in records if is_number(record.get(TOKENS))}
    anchors = tokens if x == "tokens" else training_hours(records, measured)
    if not anchors and steps:
        raise UserError(f"--x {x}: run '{run.name}' did not record it; take --x step")
    return {step: _between({0: 0.0, **anchors}, step) for step in steps}


def _between(anchors: Mapping[int, float], step: int) -> float:
    """The value at a step, interpolated between its neighbours; beyond the last one, that one's."""
    known = list(anchors)
    place = bisect_left(known, step)
    if place == len(known):
        return anchors[known[-1]]
    if known[place] == step:
        return anchors[step]
    before, after = known[place - 1], known[place]
    share = (step - before) / (after - before)
    return anchors[before] + share * (anchors[after] - anchors[before])


def _labels(runs: Sequence[RunFolder]) -> list[str]:
    """Names of the runs, or their paths where two have the same name."""
    names = [run.name for run in runs]
    return names if len({*names}) == len(names) else [str(run.root) for run in runs]


def _no_metric(metric: str, known: Sequence[str]) -> str:
    if not known:
        return "nothing to plot: no optimizer step is recorded"
    hint = did_you_mean(metric, known) or f": it is one of {', '.join(known)}"
    return f"--metric {metric}: no run recorded it{hint}"


def finite_points(curve: Curve) -> list[tuple[float, float]]:
    """The points of a curve that can be drawn."""
    return [(x, y) for x, y in zip(curve.xs, curve.ys, strict=True) if math.isfinite(y)]


def print_plot(curves: Sequence[Curve], x: str, *, log: bool) -> None:
    """Print the curves as wide as the terminal."""
    print("\n".join(plot_lines(curves, x, shutil.get_terminal_size().columns, log=log)))


def plot_lines(curves: Sequence[Curve], x: str, columns: int, *, log: bool) -> list[str]:
    """The lines of the plot, `columns` wide with its labels; `log`: a logarithmic vertical axis."""
    points = [
        (number, px, py) for number, curve in enumerate(curves) for px, py in finite_points(curve) if py > 0 or not log
    ]
    if not points:
        raise UserError("nothing to plot: no value is finite" + " and more than zero" * log)
    width = max(20, min(columns, 120) - LABEL_WIDTH - 2)
    numbers, xs, ys = zip(*points, strict=True)
    rows, places = _cells([math.log(y) if log else y for y in ys], HEIGHT), _cells(xs, width)
    grid = [[" "] * width for _ in range(HEIGHT)]
    for number, row, place in zip(numbers, rows, places, strict=True):
        cells, mark = grid[HEIGHT - 1 - row], MARKS[number % len(MARKS)]
        cells[place] = mark if cells[place] in (" ", mark) else SEVERAL
    labels = {0: shown_number(max(ys)), HEIGHT - 1: shown_number(min(ys))}
    lines = [f"{labels.get(row, ''):>{LABEL_WIDTH}} |{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    left, right = _place(min(xs)), f"{_place(max(xs))} {x}"
    axis = f"{'':>{LABEL_WIDTH}} +{'-' * width}"
    below = f"{'':>{LABEL_WIDTH + 2}}{left}{right:>{width - len(left)}}"
    marks = zip(itertools.cycle(MARKS), curves, strict=False)
    legend = [f"{'':>{LABEL_WIDTH}} {mark} {printable(f'{curve.run} {curve.metric}')}" for mark, curve in marks]
    several = [f"{'':>{LABEL_WIDTH}} {SEVERAL} several of them"] if any(SEVERAL in cells for cells in grid) else []
    return [*lines, axis, below, *legend, *several]


def _place(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _cells(values: Sequence[float], count: int) -> list[int]:
    """Which of `count` cells each value falls into."""
    low, span = min(values), max(values) - min(values) or 1.0
    return [round((value - low) / span * (count - 1)) for value in values]
