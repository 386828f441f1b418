"""The report of a corpus as a figure: how long documents are, and the numbers beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlib.browse.plotting import COLOURS, STYLES
from dlib.preparing.report import TextReport, filled_bins, length_ranges
from dlib.preparing.showing import facts

INCHES = (10.0, 4.2)
INCHES_A_LINE = 0.18
"""Of the numbers, which make a figure higher where they are many."""


def draw_report(figure: Any, reports: Sequence[TextReport], about: str) -> None:
    """Draw the reports into a figure of matplotlib; `about` says what the numbers depend on."""
    lengths, numbers = figure.subplots(1, 2, width_ratios=(1, 1.1))
    _draw_lengths(lengths, reports)
    numbers.axis("off")
    lines = [about, "", *facts(reports)]
    figure.set_figheight(max(INCHES[1], (len(lines) + 2) * INCHES_A_LINE))
    numbers.text(0, 1, "\n".join(lines), family="monospace", fontsize=8, va="top", linespacing=1.6)


def _draw_lengths(axes: Any, reports: Sequence[TextReport]) -> None:
    """Shares of the documents by length, a step a doubling."""
    first, bins = filled_bins(reports)
    for place, report in enumerate(reports):
        shares = np.zeros(bins)
        shares[: len(report.histogram)] = 100 * report.histogram / report.documents
        colour, style = COLOURS[place % len(COLOURS)], STYLES[place % len(STYLES)]
        axes.stairs(shares, np.arange(bins + 1) - 0.5, color=colour, linestyle=style, linewidth=1.5, label=report.name)
    axes.set_xticks(range(first, bins), length_ranges(bins)[first:], rotation=45, ha="right", fontsize=8)
    axes.set_xlim(first - 0.6, bins - 0.4)
    axes.set_xlabel("tokens in a document")
    axes.set_ylabel("share of the documents (%)")
    axes.legend()
