"""Curves of as many points as a screen can show, each of which was recorded."""

import math
from collections.abc import Iterator
from typing import Any

from dlib.browse.curves import Curve

MOST_POINTS = 400
DIGITS = 6
"""A page of hundreds of runs is half as large with these as with all of a number's; the table has them all."""


def thinned(curve: Curve) -> dict[str, Any]:
    """The points of a curve, of many the first, the last, and the lowest and highest of each stretch.

    A value that is not finite is None: the line breaks there.
    """
    places = range(len(curve.ys)) if len(curve.ys) <= MOST_POINTS else sorted({*_kept(curve.ys)})
    points = [[_rounded(curve.xs[place]), _rounded(curve.ys[place])] for place in places]
    return {"points": points, "recorded": len(curve.ys), "broken": sum(not math.isfinite(y) for y in curve.ys)}


def _kept(ys: list[float]) -> Iterator[int]:
    """Where the kept values stand; some come twice."""
    yield from (0, len(ys) - 1)
    stretch = math.ceil(len(ys) / (MOST_POINTS // 2 - 1))
    for start in range(0, len(ys), stretch):
        places = range(start, min(start + stretch, len(ys)))
        finite = [place for place in places if math.isfinite(ys[place])]
        if len(finite) < len(places):
            yield next(place for place in places if not math.isfinite(ys[place]))
        if finite:
            yield min(finite, key=ys.__getitem__)
            yield max(finite, key=ys.__getitem__)


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
