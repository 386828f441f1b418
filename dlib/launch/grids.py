"""From what a sweep varies to its points: pure, and the same on every machine and in every Python version.

    lists of settings --combinations--> points --repeated--> points with seeds --named--> runs

Settings are values by full key, as they were written: `{"optim.learning_rate": "1e-3"}`. Whatever is added at the end
(a value of the first key, a draw, a seed) leaves the points before it, and every run's name, as they were.
"""

import hashlib
import itertools
import json
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from dlib.args.fields import facts_of
from dlib.config.fields import FIELDS, bare_type, flag_of

SEED = "run.seed"
Settings = dict[str, Any]
LONGEST_NAME = 120
"""Letters of a run's name, which is a part of paths and of W&B's names."""
NO_PART_OF_A_NAME = re.compile(r"[^\w.+=-]+")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `log`: as many between 1 and 10 as between 10 and 100."""

    low: float
    high: float
    log: bool = False
    whole: bool = False  # whole numbers only

    def at(self, share: float) -> str:
        """The number that a share of the range, from 0 to below 1, lies below; not whole: four digits."""
        high = self.high + self.whole
        number = self.low + share * (high - self.low)
        if self.log:
            number = self.low * (high / self.low) ** share
        if self.whole:
            return str(min(int(self.high), math.floor(number)))
        # Four digits: the last bits of a power are not the same on every machine, and names have to be.
        return f"{min(self.high, max(self.low, float(f'{number:.4g}'))):.4g}"


@dataclass(frozen=True)
class Point:
    """One run of a sweep: its number, its name, and what it has of its own."""

    index: int
    name: str
    settings: Settings


def combinations(parts: Iterable[Sequence[Settings]]) -> list[Settings]:
    """Every combination of one settings of each part; those of the last part change fastest."""
    return [dict(itertools.chain.from_iterable(map(dict.items, chosen))) for chosen in itertools.product(*parts)]


def grid(values: Mapping[str, Sequence[Any]]) -> list[Settings]:
    """Every combination of one value of each key."""
    return combinations([[{key: value} for value in several] for key, several in values.items()])


def zipped(values: Mapping[str, Sequence[Any]]) -> list[Settings]:
    """The first value of each key together, then the second, and so on; there are as many of each."""
    return [dict(zip(values, together, strict=True)) for together in zip(*values.values(), strict=True)]


def drawn(sources: Mapping[str, Range | Sequence[Any]], number: int, seed: int) -> list[Settings]:
    """So many settings at random; each value depends on seed, key and the number of the draw alone."""
    return [{key: _draw(source, f"{seed} {key} {place}") for key, source in sources.items()} for place in range(number)]


def _draw(source: Range | Sequence[Any], key: str) -> Any:
    share = random.Random(key).random()  # seeded with a text: by its SHA-512, in every version of Python
    return source.at(share) if isinstance(source, Range) else source[math.floor(share * len(source))]


def unique(points: Iterable[Settings]) -> list[Settings]:
    """The points without those that were there before: few values are soon drawn twice."""
    return list({json.dumps(point, sort_keys=True): point for point in points}.values())


def repeated(points: Sequence[Settings], times: int, seed: int) -> list[Settings]:
    """All points as they are, then all with the next seed after `seed`, and so on."""
    more = [{**point, SEED: str(seed + time)} for time in range(1, times) for point in points]
    return [*points, *more]


def named(sweep: str, points: Sequence[Settings]) -> list[Point]:
    """The points with the names of their runs, which say the sweep and the point's settings.

    Of points that would be called the same, and those with very long names, a hash of the settings tells.
    """
    names = [
        "-".join([sweep, *(f"{flag_of(key)[2:]}={part_of(key, value)}" for key, value in point.items())])
        for point in points
    ]
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    return [
        Point(place, name if first[name] == place and len(name) <= LONGEST_NAME else _hashed(name, point), point)
        for place, (name, point) in enumerate(zip(names, points, strict=True))
    ]


def part_of(key: str, value: Any) -> str:
    """A value as a part of a name: numbers as they are shown, the last part of a path, no letter that a shell reads."""
    if isinstance(value, Mapping):
        value = [f"{name}={item}" for name, item in value.items()]
    if isinstance(value, list):
        return "_".join(part_of(key, item) for item in value) or "empty"
    text = str(value).lower() if value is None else str(value)
    if facts_of(FIELDS[key]).path:
        text = PurePath(text).name or text
    if bare_type(FIELDS[key]) in (float, list[float]):
        with suppress(ValueError):  # a reference, ${...}
            text = f"{float(text):g}"
    return NO_PART_OF_A_NAME.sub("_", text).strip("_") or "empty"


def _hashed(name: str, point: Settings) -> str:
    digest = hashlib.blake2b(json.dumps(point).encode(), digest_size=6).hexdigest()
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"
