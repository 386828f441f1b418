"""Two files whose lines belong together: a text and its translation, its summary, its correction."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from dlib.data.document_error import DocumentError
from dlib.data.lines import ByteRange, iterate_lines, line_number, whole_file
from dlib.data.pairs import files_of
from dlib.data.records import Document, document_of
from dlib.data.samples import Columns
from dlib.process.errors import UserError

Line = tuple[int, str]


def read_parallel(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """A line of the first file and the same line of the second: keys `source` and `target`.

    Raises:
        UserError: the files have different numbers of lines, or the second is not UTF-8.
        DocumentError: the first one is not UTF-8; or as `document_of` does.
    """
    if byte_range.start:
        return
    first, second = files_of(file)
    sources = iterate_lines(first, whole_file(first), encoding_errors)
    targets = _located_lines(second, encoding_errors)
    for number, (source, target) in enumerate(zip_longest(sources, targets)):
        if source is None or target is None:
            more = number + 1 + sum(1 for _ in (sources if target is None else targets))
            counts = (number, more) if source is None else (more, number)
            lines = f"{first} has {counts[0]:,} lines and {second} {counts[1]:,}"
            raise UserError(f"{lines}: line for line they have to belong together")
        yield document_of({"source": source[1], "target": target[1]}, columns, source[0], encoding_errors)


def _located_lines(file: Path, encoding_errors: str) -> Iterator[Line]:
    try:
        yield from iterate_lines(file, whole_file(file), encoding_errors)
    except DocumentError as error:
        raise UserError(f"{file} line {line_number(file, error.offset)}: {error.reason}") from error
