"""A size, and what was measured at it; rows of growing sizes as a table."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.soak_parts.processes import MEBIBYTE, Observed


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        size: of what grows.
        figures: what was measured, by name with its unit.
    """

    size: int
    figures: Mapping[str, float]


def of_process(name: str, seen: Observed) -> dict[str, float]:
    """What a process took, its children included."""
    times = {f"{name}, s": seen.seconds, f"{name}, processor s": seen.processor_seconds}
    return {**times, f"{name}, MiB": seen.peak_bytes / MEBIBYTE}


def medians(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over repetitions."""
    return {name: statistics.median(each[name] for each in measured) for name in measured[0]}


def table(what: str, rows: Sequence[Row]) -> Iterator[str]:
    """A Markdown table; each figure with its ratio to that of the first row."""
    first = rows[0].figures
    yield f"| {what} | {' | '.join(first)} |"
    yield "|---:" * (len(first) + 1) + "|"
    for row in rows:
        cells = [f"{shown(value)} ({value / first[name]:.2f} x)" for name, value in row.figures.items()]
        yield f"| {row.size:,} | {' | '.join(cells)} |"
    yield ""


def shown(value: float) -> str:
    """A figure to as many places as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
