"""A sweep as a figure: the metric over each argument that varies, a dot a run, a line through the means."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlib.browse.plotting import COLOURS, UNITS, save_figure
from dlib.browse.ranking import Ranking
from dlib.config.fields import flag_of
from dlib.config.flags import shown_value
from dlib.process.errors import UserError
from dlib.runs.metrics_log import is_number

INCHES_A_PANEL, MOST_IN_A_ROW = 3.2, 3
WORDS: Any = {"rotation": 30, "ha": "right", "rotation_mode": "anchor", "fontsize": "small"}
"""How texts stand below a panel: their ends at their places."""
MOST_TICKS = 5
"""More numbers below a panel would run into each other."""
WIDE = 4
"""An axis whose largest value is so many times its smallest is logarithmic."""


def save_ranking(ranking: Ranking, output: Path) -> None:
    """Draw the metric over each argument into a file whose extension says the format.

    Raises:
        UserError: nothing varies, or no run has the metric; or the file cannot be written.
    """
    if not ranking.varied or not any(ys for _, ys in dots(ranking, 0)):
        raise UserError(f"-o {output}: nothing to draw: no argument varies, or no run has {ranking.metric}")
    columns = min(MOST_IN_A_ROW, len(ranking.varied))
    rows = math.ceil(len(ranking.varied) / columns)
    inches = (max(4.0, INCHES_A_PANEL * columns), INCHES_A_PANEL * rows)
    save_figure(lambda figure: _draw(figure, ranking, rows, columns), output, inches)


def dots(ranking: Ranking, place: int) -> list[tuple[Any, list[float]]]:
    """The values of an argument, numbers by size and others as they come, each with the metric of all its runs."""
    found: dict[str, tuple[Any, list[float]]] = {}
    for group in ranking.points:
        value = ranking.values(group)[place]
        numbers = [number for run in group if (number := ranking.column.number(run)) is not None]
        found.setdefault(shown_value(value), (value, []))[1].extend(filter(math.isfinite, numbers))
    having = [(value, numbers) for value, numbers in found.values() if numbers]
    return sorted(having, key=lambda item: in_natural_order(item[0]))


def in_natural_order(value: Any) -> tuple[tuple[float, str], ...]:
    """Where a value stands: numbers by size, of texts those that they begin with or hold, too."""
    if is_number(value):
        return ((float(value), ""),)
    parts = re.split(r"(\d+)", shown_value(value))
    return tuple((float(part), "") if part.isdigit() else (math.inf, part) for part in parts)


def _draw(figure: Any, ranking: Ranking, rows: int, columns: int) -> None:
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for place, axes in enumerate(panels):
        if place < len(ranking.varied):
            _draw_panel(axes, ranking, place)
        else:
            axes.set_visible(False)
    for row in range(rows):
        name = ranking.metric.rpartition("/")[2]
        unit = f" ({UNITS[name]})" if name in UNITS else ""
        figure.axes[row * columns].set_ylabel(ranking.metric.replace("_", " ") + unit)


def _draw_panel(axes: Any, ranking: Ranking, place: int) -> None:
    found = dots(ranking, place)
    values = [value for value, _ in found]
    is_numeric = all(is_number(value) for value in values)
    xs = values if is_numeric else list(range(len(values)))
    for x, (_, numbers) in zip(xs, found, strict=True):
        axes.plot([x] * len(numbers), numbers, "o", color=COLOURS[0], alpha=0.5, markersize=4, markeredgewidth=0)
    means = [sum(numbers) / len(numbers) for _, numbers in found]
    axes.plot(xs, means, "-" if is_numeric else "", marker="_", markersize=12, color=COLOURS[1])
    axes.set_xlabel(flag_of(ranking.varied[place])[2:].replace("_", " "))
    if is_numeric and is_wide(values):
        axes.set_xscale("log")
    elif is_numeric:
        axes.locator_params(axis="x", nbins=MOST_TICKS)
    if not is_numeric or len(xs) <= MOST_TICKS:
        axes.set_xticks(xs, [shown_tick(value) for value in values], **({} if is_numeric else WORDS))
        axes.minorticks_off()
    if not is_numeric:
        axes.set_xlim(-0.5, len(xs) - 0.5)


def shown_tick(value: Any) -> str:
    """A value below an axis: of a path its last part, of a list an element a line."""
    text = f"{value:g}" if is_number(value) else shown_value(value).rpartition("/")[2].replace(" ", "\n")
    return text.replace("$", r"\$")


def is_wide(values: Sequence[float]) -> bool:
    """Whether numbers lie so far apart that only a logarithmic axis shows them."""
    return min(values) > 0 and max(values) / min(values) >= WIDE
