"""What stands in a sweep file, key by key; whatever is wrong there is told with its line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dlib.config.fields import FIELDS, FLAGS, GROUPS, nearest_key
from dlib.config.spelling import did_you_mean
from dlib.config.strict_yaml import line_of, read_yaml
from dlib.process.errors import UserError, quoted

VARIED = ("points", "zip", "grid", "random")
SECTIONS = ("name", "config_path", "settings", *VARIED, "draws", "draw_seed", "repeat")
TRUST = "model.trust_remote_code"
NOT_HERE = {
    "run.name": "sweep.py names the runs",
    "run.out_dir": "give it as a flag, --out_dir",
    "run.sweep": "the key name says it",
    "run.resume": "repeating the command goes on with the sweep",
    TRUST: "a file cannot allow code to run: give it as a flag, -- --trust_remote_code",
}
MOST_POINTS = 100_000
"""More are a slip: each is a folder."""


@dataclass(frozen=True)
class Value:
    """What a sweep file says of a key, and the names that lead to it in the file."""

    key: str
    content: Any
    names: tuple[str | int, ...]


class SweepContent:
    """The content of a sweep file, and its errors, which name the line."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            UserError: it is no YAML, or has other keys than a sweep file.
        """
        self.path = path
        content = read_yaml(path)
        self.content: Mapping[str, Any] = {"points": content} if isinstance(content, list) else content
        self._is_list = isinstance(content, list)
        if not isinstance(self.content, Mapping) or not self.content:
            raise UserError(f"{path}: this is no sweep: write a list of settings, or one of {', '.join(VARIED)}")
        for name in self.content:
            if name not in SECTIONS:
                self._refuse_section(str(name))

    def refuse(self, names: Sequence[str | int], problem: str) -> NoReturn:
        """Raise what is wrong at a place in the file."""
        line = line_of(self.path, names[1:] if self._is_list else names)
        raise UserError(f"{self.path}, line {line}: {'.'.join(n for n in names if isinstance(n, str))}: {problem}")

    def number(self, name: str, default: int | None = None) -> int:
        text = self.content.get(name)
        if text is None and default is not None:
            return default
        if not str(text).isdecimal() or not 0 < int(str(text)) <= MOST_POINTS:
            self.refuse((name,) if name in self.content else ("random",), f"{name} must be a number from 1 on")
        return int(str(text))

    def values(self, names: tuple[str | int, ...]) -> Iterator[Value]:
        """The values of the keys in a section, or an element of one."""
        content: Any = self.content
        for name in names:
            content = content.get(name) if isinstance(content, Mapping) else content[name]
        yield from () if content is None and names == ("settings",) else self._flat("", content, names)

    def _flat(self, prefix: str, content: Any, names: tuple[str | int, ...]) -> Iterator[Value]:
        if not isinstance(content, Mapping) or not content:
            self.refuse(names, f"this must be a mapping of arguments to values, not {quoted(content)}")
        for word, value in content.items():
            full = f"{prefix}.{word}".lstrip(".")
            key = full if prefix or (full in GROUPS and isinstance(value, Mapping)) else FLAGS.get(f"--{word}", full)
            if key in GROUPS:
                yield from self._flat(key, value, (*names, word))
                continue
            if key not in FIELDS:
                self.refuse((*names, word), f"unknown argument{nearest_key(key, FIELDS)}")
            if key in NOT_HERE:
                self.refuse((*names, word), NOT_HERE[key])
            yield Value(key, value, (*names, word))

    def _refuse_section(self, name: str) -> NoReturn:
        if FLAGS.get(f"--{name}", name) in FIELDS or name in GROUPS:
            self.refuse((name,), f"this is an argument: write it below one of {', '.join(VARIED)} or settings")
        self.refuse(
            (name,), f"a sweep has no such key{did_you_mean(name, SECTIONS)}: it is one of {', '.join(SECTIONS)}"
        )
