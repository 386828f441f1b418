"""A sweep file, YAML or JSON, as a `Sweep`: what is varied, over which configuration.

    name: rates                        # of the sweep; without it the file's
    config_path: [../demo.yml]         # files below all points, beside this one
    settings: {training_goal: 400}     # of all points
    points:                            # a list of settings: these points
      - {learning_rate: 1e-3, batch_size: 32}
    zip: {model: [a, b], batch_size: [64, 16]}             # lists that go together
    grid: {learning_rate: [1e-3, 3e-3], seed: [1, 2]}      # every combination
    random: {learning_rate: {from: 1e-4, to: 1e-2, scale: log}, batch_size: [16, 32]}
    draws: 8                           # how many, of `random`
    draw_seed: 1
    repeat: 3                          # each point with so many seeds

Several of `points`, `zip`, `grid` and `random` are combined, each settings of one with each of the others. A file that
is a list is one of `points`. Keys are full or as a flag has them: `optim.learning_rate` or `learning_rate`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlib.config.configuration import load_config
from dlib.config.fields import FIELDS, bare_type, flag_of
from dlib.config.validation import check_name
from dlib.launch.grids import (
    SEED,
    Point,
    Range,
    Settings,
    combinations,
    drawn,
    grid,
    named,
    repeated,
    unique,
    zipped,
)
from dlib.launch.sweep_content import SweepContent, Value
from dlib.process.errors import UserError, quoted


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says."""

    name: str
    config_paths: list[Path] = field(default_factory=list)
    settings: Settings = field(default_factory=dict)  # of all points
    own: list[Settings] = field(default_factory=list)  # of each point, with one seed
    repeat: int = 1

    def points(self, seed: int) -> list[Point]:
        """Its points; `seed` is the first of `repeat`."""
        return named(self.name, repeated(self.own, self.repeat, seed))


class SweepFile(SweepContent):
    """What is varied in a sweep file, and how; the mistakes in it name the line."""

    def sweep(self) -> Sweep:
        """What it says.

        Raises:
            UserError: something is no settings, no list or no range; the message names the line.
        """
        name = str(self.content.get("name") or self.path.stem)
        check_name(name, f"{self.path}: name")
        paths = self.content.get("config_path") or []
        parts = list(self._parts())  # first: it refuses what is no list
        self._refuse_twice()
        own = unique(combinations(parts))
        repeat = self.number("repeat", 1)
        if repeat > 1 and any(SEED in point for point in own):
            self.refuse(("repeat",), "the seed is varied, too: leave one of them out")
        return Sweep(
            name,
            [beside(self.path, name) for name in ([paths] if isinstance(paths, str) else paths)],
            {value.key: value.content for value in self.values(("settings",))},
            own,
            repeat,
        )

    def check(self, below: Sequence[Path], given: Settings) -> None:
        """Refuse a value that its argument does not take, over the sweep's own files, `below` and what was `given`.

        Raises:
            UserError: the message names the line.
        """
        sweep = self.sweep()
        paths, settings = [*sweep.config_paths, *below], {**sweep.settings, **given}
        self._load(paths, settings, list(self.values(("settings",))))
        for value in self._single_values():
            self._load(paths, {**settings, value.key: value.content}, [value])

    def _load(self, paths: Sequence[Path], settings: Settings, values: Sequence[Value]) -> None:
        try:
            load_config(paths, settings)
        except UserError as error:
            for value in values:
                if str(error).startswith(f"{flag_of(value.key)}: "):
                    self.refuse(value.names, str(error).partition(": ")[2])
            raise

    def _parts(self) -> Iterator[list[Settings]]:
        """The settings of each section that varies something."""
        if "points" in self.content:
            yield self._listed()
        for section, expand in (("zip", zipped), ("grid", grid)):
            if section in self.content:
                yield expand(self._lists(section))
        if "random" in self.content:
            sources = {value.key: self._source(value) for value in self.values(("random",))}
            yield drawn(sources, self.number("draws"), self.number("draw_seed", 1))
        elif "draws" in self.content:
            self.refuse(("draws",), "there is nothing to draw: write random")

    def _refuse_twice(self) -> None:
        """Refuse a key in two sections, one of which would hide the other."""
        places: dict[str, str] = {}
        for value in self._single_values():
            section = places.setdefault(value.key, str(value.names[0]))
            if section != value.names[0]:
                self.refuse(value.names, f"{section} varies it, too: leave one of them out")

    def _listed(self) -> list[Settings]:
        points = self.content["points"]
        if not isinstance(points, list) or not points:
            self.refuse(("points",), "write a list of settings")
        return [{value.key: value.content for value in self.values(("points", place))} for place in range(len(points))]

    def _lists(self, section: str) -> dict[str, list[Any]]:
        values = list(self.values((section,)))
        for value in values:
            if not isinstance(value.content, list) or not value.content:
                self.refuse(value.names, f"write a list of values, not {quoted(value.content)}")
            if section == "zip" and len(value.content) != len(values[0].content):
                others = f"{values[0].key} has {len(values[0].content)}"
                self.refuse(value.names, f"{len(value.content)} values, and {others}: they go together")
        return {value.key: value.content for value in values}

    def _source(self, value: Value) -> Range | list[Any]:
        """What a key of `random` is drawn from."""
        content = value.content
        if isinstance(content, list) and content:
            return content
        kind = bare_type(FIELDS[value.key])
        if not isinstance(content, Mapping) or not {"from", "to"} <= {*content} <= {"from", "to", "scale"}:
            self.refuse(value.names, "write a list of values, or a range, {from: 1e-4, to: 1e-2, scale: log}")
        if kind not in (int, float):
            self.refuse(value.names, "this is no number: write a list of values")
        try:
            low, high = kind(content["from"]), kind(content["to"])
        except (TypeError, ValueError):
            self.refuse(value.names, f"from and to must be {'whole ' * (kind is int)}numbers")
        scale = content.get("scale", "linear")
        if scale not in ("linear", "log") or not low < high or (scale == "log" and low <= 0):
            self.refuse(value.names, "from must be below to, scale linear or log; a log scale begins above 0")
        return Range(low, high, scale == "log", kind is int)

    def _single_values(self) -> Iterator[Value]:
        """Each value that some point has, once; of ranges their ends."""
        for place in range(len(self.content.get("points", ()))):
            yield from self.values(("points", place))
        for section in ("zip", "grid", "random"):
            for value in self.values((section,)) if section in self.content else ():
                source = self._source(value) if section == "random" else value.content
                ends = [str(source.low), str(source.high)] if isinstance(source, Range) else source
                yield from (Value(value.key, end, value.names) for end in ends)


def beside(file: Path, name: str) -> Path:
    """A path that a file names, from where it stands; without the detour of `configs/sweeps/../demo.yml`."""
    path = file.parent / name
    plain = Path(os.path.normpath(path))
    return plain if path.exists() and plain.exists() and plain.samefile(path) else path
