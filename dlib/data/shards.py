"""The files of a text: one path-like string names a file, a glob, a folder of shards, or a dataset of Hugging Face's.

    train.txt               a file
    train.{de,en}           parallel files, train.de and train.en
    shards/*.jsonl          files by a pattern, `**` over folders, in the order of their names
    shards                  a folder: its files of known formats by name, or what `datasets` saved there
    hf:glue                 a dataset by its name on the hub, or hf:NAMESPACE/NAME[/CONFIG][:SPLIT]

It stands apart because whoever reads a text asks here what there is to read, and sees files from then on.
"""

import glob
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from dlib.config.corpora import HUB
from dlib.data.compression import format_suffix
from dlib.data.formats import file_suffixes, reader_of, reader_sha256
from dlib.data.lines import RANGE_BYTES, ByteRange, document_ranges, whole_file
from dlib.data.pairs import files_of
from dlib.process.errors import UserError
from dlib.process.packages import import_optional

HUB_NAME = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?:/([\w.-]+))?(?::([\w.-]+))?")
MOST_PARTS = 2000
"""A text is tokenized in about so many parts at most, but for the shards that are larger than one."""

Slice = tuple[int, ByteRange]
"""The number of a file in its text, and a range of it."""


def shards_of(text: Path) -> Sequence[Path]:
    """The files of a text in the order in which they are read; none where it is not there.

    Raises:
        UserError: a folder or a dataset cannot be read as one text.
    """
    if all(file.is_file() for file in files_of(text)):
        return [text]
    if is_on_hub(text):
        return hub_shards(str(text))
    found = [*map(Path, glob.glob(str(text), recursive=True))] if glob.has_magic(str(text)) else []
    files = sorted(path for path in found if path.is_file()) or (files_in(text) if text.is_dir() else [])
    readers = {reader_of(format_suffix(file)): file for file in files}
    if len(readers) > 1:
        names = " and ".join(file.name for file in readers.values())
        raise UserError(f"{text}: {names} are files of several formats: name those of one, such as {text}/*.jsonl")
    return files


def is_on_hub(text: Path) -> bool:
    """Whether a text is a dataset that has its name on the hub, such as `hf:stanfordnlp/imdb`."""
    return str(text).startswith(HUB)


def files_in(folder: Path) -> Sequence[Path]:
    """The shards of a folder by name, or those that `datasets` saved there in their order."""
    if (folder / "dataset_dict.json").is_file():
        raise UserError(f"{folder}: a dataset with several splits: name one of its folders")
    state = folder / "state.json"
    if state.is_file():
        try:
            saved = json.loads(state.read_text(encoding="utf-8"))
            return [folder / file["filename"] for file in saved["_data_files"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{state} is not what datasets' save_to_disk writes; save the dataset again") from error
    suffixes = tuple(file_suffixes())
    visible = (file for file in folder.iterdir() if file.name[0] not in "._" and file.is_file())
    return sorted(file for file in visible if file.name.lower().endswith(suffixes))


def text_reader_sha256(text: Path, document: str) -> str:
    """A hash of the code that reads a text which is there, see `reader_sha256`."""
    return reader_sha256(format_suffix(shards_of(text)[0]), document)


def num_bytes_of(shards: Sequence[Path]) -> int:
    """Size of a text's files."""
    return sum(whole_file(file).stop for file in shards)


def iterate_slices(files: Sequence[str]) -> Iterator[list[Slice]]:
    """What is tokenized at one go: about a MiB of whole lines, of several files where they are small.

    Of a large text it is more: the parts stay on the disk until all are there.
    """
    part_bytes = max(RANGE_BYTES, num_bytes_of([*map(Path, files)]) // MOST_PARTS)
    slices: list[Slice] = []
    size = 0
    for number, file in enumerate(files):
        for byte_range in document_ranges(Path(file), part_bytes):
            slices.append((number, byte_range))
            size += byte_range.stop - byte_range.start
            if size >= part_bytes:
                yield slices
                slices, size = [], 0
    if slices:
        yield slices


@cache
def hub_shards(name: str) -> Sequence[Path]:
    """The Arrow files of a dataset of the hub, downloaded and prepared where they are not there; split `train` if none.

    Raises:
        UserError: `datasets` is not installed, or the dataset cannot be had.
    """
    parts = HUB_NAME.fullmatch(name.removeprefix(HUB))
    if parts is None:
        raise UserError(f"{name}: write hf:NAME:SPLIT or hf:NAMESPACE/NAME/CONFIG:SPLIT")
    datasets: Any = import_optional("datasets", name)
    dataset, config, split = parts.groups()
    try:
        loaded = datasets.load_dataset(dataset, config, split=split or "train")
    except Exception as error:  # it has errors of its own, of requests, pyarrow, fsspec and the hub
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        advice = "load it once where the hub can be reached, or name a folder of save_to_disk"
        raise UserError(f"{name}: the dataset cannot be loaded: {reason}; {advice}") from error
    return [Path(file["filename"]) for file in loaded.cache_files]
