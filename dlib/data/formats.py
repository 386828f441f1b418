"""What a file is read by: a function a format, found by the file's suffix in FORMATS.

A new format is a function here, and its line in FORMATS. The function reads the documents of a range of bytes:

    def read_mine(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]

The ranges of a file are whole lines, read side by side by several processes (`dlib/data/lines.py` helps). A format
whose documents are no lines yields all of them for the range that starts at 0, and none for the others.
"""

import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlib.data.columnar import Row, iterate_arrow, iterate_parquet
from dlib.data.lines import ByteRange, DocumentError, Piece, iterate_lines, iterate_pieces
from dlib.data.passages import iterate_passages
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.process.errors import UserError

Value = int | float | bool | str
Text = str | tuple[str, ...]
SHOWN_KEYS = 10
LARGEST_INTEGER = 2**63 - 1
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Json(str):
    """A value written as JSON: a list, an object, or whatever a field has that may be missing."""


class Document(NamedTuple):
    """What a format reads."""

    offset: int  # byte of the file at which it starts, for messages
    sequences: tuple[Text, ...]  # its texts, or lists of texts, in the order of `Columns.sequences`
    fields: tuple[Value, ...] = ()  # its values, in the order of `Columns.fields`
    is_whole: bool = True  # false where the next one goes on with it; only for documents of one text and no fields


Reader = Callable[[Path, ByteRange, Columns, str], Iterator[Document]]


def read_text(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """A line a document: its text, and nothing else.

    Raises:
        UserError: more than the text is asked for.
        DocumentError: bytes are not UTF-8 and `encoding_errors` is "strict".
    """
    yield from _documents(file, columns, iterate_pieces(file, byte_range, encoding_errors))


def read_paragraphs(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """A document is what stands between blank lines, with its line breaks; raises as `read_text` does."""
    yield from _documents(file, columns, iterate_passages(file, byte_range, encoding_errors, at_blank_lines=True))


def read_whole_text(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """All of a file is a document, with its line breaks; raises as `read_text` does."""
    yield from _documents(file, columns, iterate_passages(file, byte_range, encoding_errors, at_blank_lines=False))


def _documents(file: Path, columns: Columns, pieces: Iterator[Piece]) -> Iterator[Document]:
    if columns != TEXT_ONLY:
        keys = ", ".join(columns.names)
        raise UserError(f"{file}: plain text has no {keys}; give a .jsonl, with these keys in each line's JSON object")
    for piece in pieces:
        yield Document(piece.offset, (piece.text,), (), piece.ends_line)


def read_json_lines(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """A JSON object a line; a blank line is none.

    Raises:
        DocumentError: a line is no JSON object, has not all keys, or values of other types.
    """
    for offset, line in iterate_lines(file, byte_range, encoding_errors):
        if not line.strip():
            continue
        try:
            record = JSON.decode(line)
        except (ValueError, RecursionError) as error:
            reason = str(error).partition(": line 1 ")[0]
            raise DocumentError(offset, f"broken JSON ({reason}); write a JSON object a line") from error
        if not isinstance(record, dict):
            raise DocumentError(offset, "no JSON object; write one a line")
        yield document_of(record, columns, offset, encoding_errors)


def read_parquet(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """A row a document, its columns by name; raises as `read_json_lines` does, with the row in place of a byte."""
    yield from _documents_of_rows(iterate_parquet(file, byte_range, columns.names), columns, encoding_errors)


def read_arrow(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """As `read_parquet`, of the Arrow files in which `datasets` keeps a dataset."""
    yield from _documents_of_rows(iterate_arrow(file, byte_range, columns.names), columns, encoding_errors)


def _documents_of_rows(rows: Iterator[Row], columns: Columns, encoding_errors: str) -> Iterator[Document]:
    for number, record in rows:
        yield document_of(record, columns, number, encoding_errors)


def document_of(record: Mapping[str, Any], columns: Columns, offset: int, encoding_errors: str = "strict") -> Document:
    """Take from a record, values by name, what is asked for; `offset` is the byte of the file at which it starts.

    Raises:
        DocumentError: a key is missing, or its value is of a type that cannot be used.
    """
    there = {name: record.get(name) for name in columns.names}
    for name, value in there.items():
        if value is None and name in columns.optional:
            continue
        if name not in record:
            keys = ", ".join(map(_quoted, [*record][:SHOWN_KEYS])) + ", ..." * (len(record) > SHOWN_KEYS)
            raise DocumentError(offset, f"no key {_quoted(name)}; there are: {keys or 'none'}")
        if missed := _missed(name, value, columns):
            raise DocumentError(offset, f"key {_quoted(name)}: {_shown(value)} is {missed}")

    def text(name: str) -> Text:
        if name in columns.lists:
            return tuple(_encodable(item, name, offset, encoding_errors) for item in there[name] or ())
        return _encodable(there[name] or "", name, offset, encoding_errors)

    def field(name: str) -> Any:
        value = there[name]
        if name in columns.optional or isinstance(value, list | dict):
            value = Json(_encodable(_json(value, name, offset), name, offset, encoding_errors))
        return _encodable(value, name, offset, encoding_errors) if type(value) is str else value

    return Document(offset, tuple(map(text, columns.sequences)), tuple(map(field, columns.fields)))


def kind_of(value: object) -> str:
    """What a field is stored as: "truth value", "number", "text" or "list or object"; "" if it cannot be."""
    if isinstance(value, Json):
        return "list or object"
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int):
        return "number" if -LARGEST_INTEGER <= value <= LARGEST_INTEGER else ""
    if isinstance(value, float):
        return "number" if math.isfinite(value) else ""
    return "text" if isinstance(value, str) else ""


FORMATS: dict[str, Reader] = {
    ".txt": read_text,
    ".jsonl": read_json_lines,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
"""What a suffix is read by, in the order in which `--data_dir` is searched; any other is read as plain text."""

COUNTED_IN_ROWS = (read_parquet, read_arrow)
"""Readers whose documents begin at a row, and not at a byte."""


TEXT_READERS: dict[str, Reader] = {"line": read_text, "blank_line": read_paragraphs, "file": read_whole_text}
"""What plain text is read by, by `--document`; `auto` has been settled before, or is that of a run from before it."""


def reader_of(suffix: str, document: str = "line") -> Reader:
    """What files of a suffix are read by; plain text by what a document is in it."""
    reader = FORMATS.get(suffix, read_text)
    return TEXT_READERS.get(document, read_text) if reader is read_text else reader


def reader_sha256(suffix: str, document: str = "line") -> str:
    """A hash of the code that reads a suffix, so that no cache outlives a change of it; "" for lines of plain text."""
    reader = reader_of(suffix, document)
    return "" if reader is read_text else hashlib.sha256(inspect.getsource(reader).encode()).hexdigest()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def _missed(name: str, value: object, columns: Columns) -> str:
    """What a value is not, in words, and has to be; "" where it is."""
    if name in columns.lists:
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "" if is_list else "no list of texts"
    if name in columns.sequences:
        return "" if isinstance(value, str) else "no text"
    return "" if kind_of(value) or isinstance(value, list | dict) else "no number, text or truth value"


def _json(value: object, name: str, offset: int) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(offset, f"key {_quoted(name)}: cannot be written as JSON ({error})") from error


def _encodable(text: str, name: str, offset: int, encoding_errors: str) -> str:
    """The text without halves of surrogate pairs, which JSON can escape and UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if encoding_errors == "strict":
            reason = (
                f"key {_quoted(name)}: half a surrogate pair is no character; --encoding_errors replace puts U+FFFD"
            )
            raise DocumentError(offset, reason) from error
        return LONE_SURROGATE.sub("\ufffd" if encoding_errors == "replace" else "", text)
    return text


def _quoted(name: object) -> str:
    return json.dumps(str(name)[:50], ensure_ascii=False)


def _shown(value: object) -> str:
    """A value in few words."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = "null" if value is None else str(value)
    return shown if len(shown) <= 30 else f"{shown[:30]}..."
