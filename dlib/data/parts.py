"""The parts of a token store that is being built: each is kept until the store is whole, and serves again after a kill.

A part is files and a record of them, flushed to the disk and written last. It stands apart from tokenizing because a
part that is there already is not tokenized.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dlib.data.shards import Slice
from dlib.process.durable import sync


class Part(NamedTuple):
    """The tokens of some ranges of the text."""

    name: str  # of the files, before `.tokens`, `.lengths`, `.field-0` and so on
    num_bytes: int  # UTF-8 bytes of the sequences that are kept, and one for the end of each
    text_bytes: int  # of the files, that it was made from
    num_excluded: int = 0  # documents that were left out because they stand in files of `--exclude`
    is_new: bool = True  # False where an earlier build left it


def name_of(number: int) -> str:
    """The name of a part by its place in the text."""
    return f"part-{number:06d}"


def finish(part: Path, files: Sequence[Path], slices: Sequence[Slice], num_bytes: int, num_excluded: int = 0) -> Part:
    """Make a part whole whose files are written: from now on it outlives a kill."""
    for file in files:
        sync(file)
    counts = {"num_bytes": num_bytes, "num_excluded": num_excluded}
    record = {"ranges": ranges_of(slices), **counts, "sizes": {f.name: f.stat().st_size for f in files}}
    writing = part.with_suffix(".writing")
    writing.write_text(json.dumps(record))
    sync(writing)
    writing.rename(part.with_suffix(".json"))
    return Part(part.name, num_bytes, size_of(slices), num_excluded)


def find_part(folder: Path, number: int, slices: Sequence[Slice]) -> Part | None:
    """A whole part of the same ranges, or None."""
    name = name_of(number)
    with suppress(OSError, ValueError, KeyError):
        record = json.loads((folder / f"{name}.json").read_text())
        is_whole = all((folder / file).stat().st_size == size for file, size in record["sizes"].items())
        if is_whole and record["ranges"] == ranges_of(slices):
            return Part(name, record["num_bytes"], size_of(slices), record["num_excluded"], is_new=False)
    return None


def take_over(dead: Path, folder: Path) -> None:
    """Move the whole parts of a dead build to another folder, where none of its processes goes on writing."""
    for record in sorted(dead.glob("part-*.json")):
        with suppress(OSError, ValueError, KeyError):
            for name in (*json.loads(record.read_text())["sizes"], record.name):
                (dead / name).rename(folder / name)


def ranges_of(slices: Sequence[Slice]) -> list[list[int]]:
    """Where the slices start and stop in their files."""
    return [[byte_range.start, byte_range.stop] for _, byte_range in slices]


def size_of(slices: Sequence[Slice]) -> int:
    """Bytes of the slices."""
    return sum(byte_range.stop - byte_range.start for _, byte_range in slices)
