"""Parallel files as one: `train.{de,en}` stands for `train.de` and `train.en`, whose lines belong together.

It stands apart from their reader, because whoever asks a file for its size or its hash asks both.
"""

import re
from pathlib import Path

PAIR = re.compile(r"(.*)\{([^{},/]+),([^{},/]+)\}(\.[a-z]+)?")


def pair_suffix(source_suffix: str, target_suffix: str) -> str:
    """What stands behind the name of parallel files."""
    return f".{{{source_suffix.removeprefix('.')},{target_suffix.removeprefix('.')}}}"


def is_pair(name: str) -> bool:
    """Whether a file's name, or its suffix, stands for two files."""
    return PAIR.fullmatch(name) is not None


def files_of(file: Path) -> tuple[Path, ...]:
    """The files of a name: two, the source first, or the one that it is."""
    found = PAIR.fullmatch(file.name)
    if found is None:
        return (file,)
    stem, source, target, compression = found.groups()
    return tuple(file.with_name(f"{stem}{suffix}{compression or ''}") for suffix in (source, target))
