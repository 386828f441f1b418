"""What a file is read by: a function a format, found by the file's suffix in FORMATS.

A new format is a function here, and its line in FORMATS. The function reads the documents of a range of bytes:

    def read_mine(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]

The ranges of a file are whole lines, read side by side by several processes (`dlib/data/lines.py` helps). A format
whose documents are no lines yields all of them for the range that starts at 0, and none for the others.
"""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from dlib.data.columnar import Row, iterate_arrow, iterate_parquet
from dlib.data.compression import COMPRESSIONS
from dlib.data.document_error import DocumentError
from dlib.data.json_files import read_json
from dlib.data.lines import ByteRange, Piece, iterate_lines, iterate_pieces
from dlib.data.pairs import is_pair
from dlib.data.parallel import read_parallel
from dlib.data.passages import iterate_passages
from dlib.data.records import JSON, Document, document_of
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.tables import read_conll, read_csv, read_tsv
from dlib.process.errors import UserError

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
    """All of a file is a document, with its line breaks; raises as `read_text` does.

    Where a label is asked for, it is the name of the file's folder, see `folder_name`.
    """
    pieces = iterate_passages(file, byte_range, encoding_errors, at_blank_lines=False)
    if columns == TEXT_ONLY or not {*columns.names} - {*columns.optional} <= {"text", "label"}:
        yield from _documents(file, columns, pieces)
    elif byte_range.start == 0:
        record = {"text": "".join(piece.text for piece in pieces), "label": folder_name(file)}
        yield document_of(record, columns, 0, encoding_errors)


def folder_name(file: Path) -> str:
    """The name of the folder in which a file stands; of a link that in which the link does."""
    return os.path.basename(os.path.dirname(os.path.abspath(file)))


def _documents(file: Path, columns: Columns, pieces: Iterator[Piece]) -> Iterator[Document]:
    if columns != TEXT_ONLY:
        keys, advice = ", ".join(columns.names), "give a .jsonl, with these keys in each line's JSON object"
        if columns.fields == ("label",):
            advice += ", or --document file for files in folders that have the labels' names"
        raise UserError(f"{file}: plain text has no {keys}; {advice}")
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
    yield from _documents_of_rows(
        iterate_parquet(file, byte_range, columns.keys_of(columns.names)), columns, encoding_errors
    )


def read_arrow(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """As `read_parquet`, of the Arrow files in which `datasets` keeps a dataset."""
    yield from _documents_of_rows(
        iterate_arrow(file, byte_range, columns.keys_of(columns.names)), columns, encoding_errors
    )


def _documents_of_rows(rows: Iterator[Row], columns: Columns, encoding_errors: str) -> Iterator[Document]:
    for number, record in rows:
        yield document_of(record, columns, number, encoding_errors)


FORMATS: dict[str, Reader] = {
    ".txt": read_text,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".json": read_json,
    ".conll": read_conll,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
"""What a suffix is read by, in the order in which `--data_dir` is searched; any other is read as plain text."""

COUNTED_IN_ROWS = (read_parquet, read_arrow)
"""Readers whose documents begin at a row, and not at a byte."""


TEXT_READERS: dict[str, Reader] = {"line": read_text, "blank_line": read_paragraphs, "file": read_whole_text}
"""What plain text is read by, by `--document`; `auto` has been settled before, or is that of a run from before it."""


def file_suffixes() -> list[str]:
    """The suffixes by which files are found, compressed ones after the others of their format."""
    return [f"{suffix}{compression}" for suffix in FORMATS for compression in ("", *COMPRESSIONS)]


def reader_of(suffix: str, document: str = "line") -> Reader:
    """What files of a suffix are read by; plain text by what a document is in it."""
    if is_pair(suffix):
        return read_parallel
    reader = FORMATS.get(suffix, read_text)
    return TEXT_READERS.get(document, read_text) if reader is read_text else reader


def reader_sha256(suffix: str, document: str = "line") -> str:
    """A hash of the code that reads a suffix, so that no cache outlives a change of it; "" for lines of plain text.

    It covers the function, and where that stands in another file, all of the file.
    """
    reader = reader_of(suffix, document)
    if reader is read_text:
        return ""
    code = inspect.getsource(reader)
    if reader.__module__ != __name__:
        code += inspect.getsource(sys.modules[reader.__module__])
    return hashlib.sha256(code.encode()).hexdigest()
