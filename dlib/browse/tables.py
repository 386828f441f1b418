"""Tables, sizes, ages and small curves as text, for terminals of any width and for files."""

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from dlib.process import errors

MISSING = "-"
SPARKS, PLAIN_SPARKS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
SPARK_WIDTH = 60
_AGES = (("d", 86400), ("h", 3600), ("min", 60))
_SIZES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def table(rows: Iterable[Sequence[Any]], header: Sequence[str] = (), numbers: Sequence[int] = ()) -> list[str]:
    """The rows as lines with aligned columns, those in `numbers` to the right; a cell that is None is a dash."""
    cells = [[MISSING if cell is None else printable(str(cell)) for cell in row] for row in rows]
    cells = [list(header), *cells] if header else cells
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return [line.rstrip() for line in lines]


def printable(text: str) -> str:
    """The text without control characters and letters that stdout cannot encode; names of files may hold both."""
    if text.isascii() and text.isprintable():
        return text
    encoding = sys.stdout.encoding or "ascii"
    return errors.printable(text).encode(encoding, errors="backslashreplace").decode(encoding)


def shown_size(size_bytes: int) -> str:
    """A size with three digits: `22.3 MB`."""
    unit, worth = next(((unit, worth) for unit, worth in _SIZES if size_bytes >= worth), ("B", 1))
    return f"{size_bytes / worth:.3g} {unit}" if size_bytes < 999.5 * worth else f"{size_bytes / worth:.0f} {unit}"


def shown_age(seconds: float) -> str:
    """A time span in its largest unit: `3 d`."""
    unit, worth = next(((unit, worth) for unit, worth in _AGES if seconds >= worth), ("s", 1))
    return f"{max(0, seconds) // worth:.0f} {unit}"


def shown_number(value: Any) -> str | None:
    """A number with four digits; a word as it is."""
    return f"{value:.4g}" if isinstance(value, float) else None if value is None else str(value)


def sparkline(values: Sequence[float], width: int = SPARK_WIDTH) -> str:
    """A curve as one line of blocks, each the mean of its share of the values; `?` where that is not finite."""
    shares = resampled(values, width)
    finite = [value for value in shares if math.isfinite(value)]
    if not finite:
        return "?" * len(shares)
    sparks = SPARKS if can_print(SPARKS) else PLAIN_SPARKS
    low, span = min(finite), max(finite) - min(finite) or 1.0
    top = len(sparks) - 1
    return "".join(sparks[round((v - low) / span * top)] if math.isfinite(v) else "?" for v in shares)


def resampled(values: Sequence[float], width: int) -> list[float]:
    """At most `width` values, each the mean of neighbours, so that no peak is lost."""
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)] if count else []
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]


def can_print(text: str) -> bool:
    """Whether stdout can encode these letters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
