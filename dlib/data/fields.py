"""The fields of documents as columns of files: numbers and truth values as they are, texts and JSON as their bytes.

It stands apart from the token store because the processes that tokenize side by side write parts of columns, which are
joined in the order of the text. Numbers are integers until a fraction comes.

    field-0.bin           (num_documents,) values, or the UTF-8 bytes of all texts, or of all JSON, end to end
    field-0-offsets.bin   (num_documents + 1,) int64, where each text starts
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dlib.data.document_error import DocumentError
from dlib.data.lines import MIB
from dlib.data.records import Document, Value, kind_of, order_of, typed
from dlib.process.durable import sync

LENGTH_TYPE = np.dtype("<i8")
TYPES = {"number": "<i8", "truth value": "|b1", "text": "|u1", "list or object": "|S1"}
"""numpy's name of the type that a column of a kind begins with."""
FRACTIONS, TEXTS, JSON_TEXTS = "<f8", TYPES["text"], TYPES["list or object"]
WRITTEN = (TEXTS, JSON_TEXTS)
MOST_DISTINCT = 10_000
MOST_DISTINCT_CHARACTERS = MIB
VALUES_AT_ONCE = 1024


@dataclass(frozen=True)
class FieldColumn:
    """What is known of a column without reading it."""

    name: str  # its key
    dtype: str  # numpy's name of the type of a value; of a byte where the values are texts, or JSON
    # its different values in ascending order, of lists those of their items; None where they are more than 10,000, or
    # longer than a MiB
    distinct: Sequence[Value] | None

    @property
    def kind(self) -> str:
        """What its values are, see `kind_of`."""
        return next((kind for kind, dtype in TYPES.items() if dtype == self.dtype), "number")

    def map_values(self, folder: Path, place: int) -> Callable[[int], Any]:
        """Map the store's column number `place` into memory; gives the value of a document by its number."""
        values_file, offsets_file = column_files(folder, place)
        values = map_array(values_file, self.dtype)
        if self.dtype not in WRITTEN:
            return lambda document: values[document].item()
        offsets = map_array(offsets_file, LENGTH_TYPE.str)

        def text(document: int) -> str:
            return values[offsets[document] : offsets[document + 1]].tobytes().decode()

        return text if self.dtype == TEXTS else lambda document: json.loads(text(document))


def column_files(folder: Path, place: int) -> tuple[Path, Path]:
    """The file of a column's values, and that of their offsets."""
    return folder / f"field-{place}.bin", folder / f"field-{place}-offsets.bin"


def keep_fields(
    documents: Iterable[Document], part: Path, names: Sequence[str], kinds: Sequence[str]
) -> Iterator[Document]:
    """Hand documents on, and write their fields: arrays one after another, a file a column beside `part`.

    Raises:
        DocumentError: a value is not of its column's kind.
    """
    rows: list[tuple[Value, ...]] = []
    for document in documents:
        values = tuple(map(typed, document.fields, kinds))
        for name, kind, value in zip(names, kinds, values, strict=True):
            if kind_of(value) != kind:
                reason = f'key "{name}": a {kind_of(value)}, where the first document has a {kind}'
                raise DocumentError(document.offset, reason)
        rows.append(values)
        yield document
        if len(rows) == VALUES_AT_ONCE:
            _write(part, kinds, rows)
            rows = []
    _write(part, kinds, rows)


class FieldWriter:
    """Joins the parts of one column of a store."""

    def __init__(self, folder: Path, place: int, name: str, kind: str) -> None:
        """Begin column number `place` of the store in `folder`."""
        self.place, self.name, self.dtype = place, name, TYPES[kind]
        self.values_file, self.offsets_file = column_files(folder, place)
        self.files = [self.values_file] + [self.offsets_file] * (self.dtype in WRITTEN)
        self.values_file.touch()
        if self.dtype in WRITTEN:
            _append(self.offsets_file, np.zeros(1, LENGTH_TYPE))
        self.distinct: set[Value] | None = set()

    def add(self, part: Path) -> None:
        """Append what `keep_fields` wrote."""
        file = part_file(part, self.place)
        if not file.exists():  # a range without documents
            return
        arrays = _load_all(file)
        for array in arrays:
            if self.dtype in WRITTEN:
                self._add_texts(array, next(arrays))
            else:
                self._add_numbers(array)

    def close(self) -> FieldColumn:
        """Flush the column to the disk; returns what is to be known of it."""
        for file in self.files:
            sync(file)
        if self.distinct is None:
            return FieldColumn(self.name, self.dtype, None)
        values = set(map(float, self.distinct)) if self.dtype == FRACTIONS else self.distinct
        return FieldColumn(self.name, self.dtype, sorted(values, key=order_of))

    def _add_numbers(self, array: np.ndarray) -> None:
        if array.dtype.kind == "f" and self.dtype == TYPES["number"]:
            _integers_to_fractions(self.values_file)
            self.dtype = FRACTIONS
        _append(self.values_file, array.astype(self.dtype))
        self._note(np.unique(array).tolist())

    def _add_texts(self, lengths: np.ndarray, content: np.ndarray) -> None:
        ends = np.cumsum(lengths)
        _append(self.offsets_file, self.values_file.stat().st_size + ends)
        _append(self.values_file, content)
        if self.distinct is not None:
            stretches = zip(ends - lengths, ends, strict=True)
            texts = (content[start:stop].tobytes().decode() for start, stop in stretches)
            self._note(texts if self.dtype == TEXTS else chain.from_iterable(map(_items, texts)))

    def _note(self, values: Iterable[Value]) -> None:
        if self.distinct is None:
            return
        self.distinct.update(values)
        texts = (value for value in self.distinct if isinstance(value, str))
        if len(self.distinct) > MOST_DISTINCT or sum(map(len, texts)) > MOST_DISTINCT_CHARACTERS:
            self.distinct = None


def _write(part: Path, kinds: Sequence[str], rows: Sequence[tuple[Value, ...]]) -> None:
    for place, (kind, values) in enumerate(zip(kinds, zip(*rows, strict=True), strict=False)):
        with part_file(part, place).open("ab") as file:
            for array in _as_arrays(kind, values):
                file.write(array.dtype.str.encode() + len(array).to_bytes(8, "little") + array.tobytes())


def _as_arrays(kind: str, values: Sequence[Value]) -> list[np.ndarray]:
    """One array of numbers or truth values; or the lengths of texts, and their bytes."""
    if TYPES[kind] not in WRITTEN:
        return [np.array(values)]
    encoded = [str(value).encode() for value in values]
    return [np.array(list(map(len, encoded)), LENGTH_TYPE), np.frombuffer(b"".join(encoded), TYPES[kind])]


def _items(written: str) -> Iterator[Value]:
    """The numbers, texts and truth values of a list, or a single one that is written as JSON."""
    value = json.loads(written)
    return (item for item in (value if isinstance(value, list) else [value]) if kind_of(item))


def part_file(part: Path, place: int) -> Path:
    """What `keep_fields` writes of column number `place`; nothing where there are no documents."""
    return part.with_suffix(f".field-{place}")


def _load_all(file: Path) -> Iterator[np.ndarray]:
    with file.open("rb") as opened:
        while name := opened.read(len(FRACTIONS)):
            dtype, length = np.dtype(name.decode()), int.from_bytes(opened.read(8), "little")
            yield np.frombuffer(opened.read(length * dtype.itemsize), dtype)


def _append(file: Path, array: np.ndarray) -> None:
    with file.open("ab") as opened:
        opened.write(array.data)


def _integers_to_fractions(file: Path) -> None:
    """Turn a file of integers into one of floats, which are as long, in place."""
    if file.stat().st_size:
        values = np.memmap(file, TYPES["number"], "r+")
        for start in range(0, len(values), MIB):
            block = values[start : start + MIB]
            block.view(FRACTIONS)[:] = block.astype(FRACTIONS)
        values.flush()


def map_array(file: Path, dtype: str) -> np.ndarray:
    """Map an array of one dimension; an empty file, which cannot be mapped, is an empty one."""
    if file.stat().st_size == 0:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(file, dtype, "r"))
