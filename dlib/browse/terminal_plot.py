"""Curves in the terminal: a letter a curve, on a grid of text."""

import math
import shutil
from collections.abc import Sequence

from dlib.browse.curves import Curve, finite_points
from dlib.browse.tables import printable, shown_number
from dlib.process.errors import UserError

MARKS = "*o+x#%@&"
SEVERAL = ":"
"""Where several curves meet."""
HEIGHT = 16
LABEL_WIDTH = 10


def print_plot(curves: Sequence[Curve], x: str, *, log: bool) -> None:
    """Print the curves as wide as the terminal is.

    Raises:
        UserError: nothing of them can be drawn.
    """
    print("\n".join(plot_lines(curves, x, shutil.get_terminal_size().columns, log=log)))


def plot_lines(curves: Sequence[Curve], x: str, columns: int, *, log: bool) -> list[str]:
    """The lines of the plot, `columns` wide with its labels; `log`: a logarithmic vertical axis."""
    all_points = [[(px, py) for px, py in finite_points(curve) if py > 0 or not log] for curve in curves]
    everything = [point for points in all_points for point in points]
    if not everything:
        raise UserError("nothing to plot: no value is finite" + " and more than zero" * log)
    width = max(20, min(columns, 120) - LABEL_WIDTH - 2)
    xs, ys = zip(*everything, strict=True)
    grid = [[" "] * width for _ in range(HEIGHT)]
    for number, points in enumerate(all_points):
        for px, py in points:
            row = HEIGHT - 1 - _cell(_scaled(py, log), _scaled(min(ys), log), _scaled(max(ys), log), HEIGHT)
            column, mark = _cell(px, min(xs), max(xs), width), MARKS[number % len(MARKS)]
            grid[row][column] = mark if grid[row][column] in (" ", mark) else SEVERAL
    labels = {0: shown_number(max(ys)), HEIGHT - 1: shown_number(min(ys))}
    lines = [f"{labels.get(row, ''):>{LABEL_WIDTH}} |{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    left, right = _place(min(xs)), f"{_place(max(xs))} {x}"
    axis = f"{'':>{LABEL_WIDTH}} +{'-' * width}"
    below = f"{'':>{LABEL_WIDTH + 2}}{left}{right:>{width - len(left)}}"
    return [*lines, axis, below, *_legend(curves)]


def _legend(curves: Sequence[Curve]) -> list[str]:
    return [
        f"{'':>{LABEL_WIDTH}} {MARKS[number % len(MARKS)]} {printable(f'{curve.run} {curve.metric}')}"
        for number, curve in enumerate(curves)
    ]


def _place(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _scaled(value: float, log: bool) -> float:
    return math.log(value) if log else value


def _cell(value: float, low: float, high: float, count: int) -> int:
    return round((value - low) / (high - low) * (count - 1)) if high > low else 0
