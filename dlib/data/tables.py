"""Tables: values separated by commas or tabs below a line of names, and words in columns.

Nothing in them says what is a number. A value is one if it reads as one (`Cell`), in a column whose first value does.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from dlib.data.document_error import DocumentError
from dlib.data.lines import ByteRange, iterate_lines, join_pieces, whole_file
from dlib.data.passages import iterate_passages
from dlib.data.records import Cell, Document, document_of, quoted
from dlib.data.samples import Columns

MOST_CHARACTERS = 1 << 26
"""Of a value in a .csv: where quotes never close, it would be all the rest of the file, held in memory."""


def read_csv(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """Values separated by commas, and in quotes where they hold some, or line breaks; the first line names the columns.

    As quotes can go over lines, it is read from its beginning, by one process.

    Raises:
        DocumentError: broken quotes, or more or fewer values than names; or as `document_of` does.
    """
    if byte_range.start:
        return
    names: Sequence[str] = ()
    for offset, values in filter(itemgetter(1), _quoted_rows(file, encoding_errors)):  # a blank line has no values
        if not names:
            names = _names(values, offset)
        else:
            yield _row(names, values, columns, offset, encoding_errors)


def read_tsv(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """Values separated by tabs, a document a line; the first line names the columns. Quotes are a part of the value.

    Raises:
        DocumentError: more or fewer values than names; or as `document_of` does.
    """
    start, header = next(iterate_lines(file, whole_file(file), encoding_errors), (0, ""))
    names = _names(header.split("\t"), start)
    for offset, line in iterate_lines(file, byte_range, encoding_errors):
        if line and offset > start:
            yield _row(names, line.split("\t"), columns, offset, encoding_errors)


def read_conll(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """A word a line, its label in the last column, and a blank line after each sentence: keys `tokens` and `labels`.

    Columns are separated by tabs, or by blanks; lines of `-DOCSTART-` are left out, and comments (`_without_comments`).

    Raises:
        DocumentError: a word has no label; or as `document_of` does.
    """
    passages = iterate_passages(file, byte_range, encoding_errors, at_blank_lines=True)
    for offset, sentence in join_pieces(passages):
        lines = [line for line in sentence.split("\n") if not line.startswith("-DOCSTART-")]
        rows = [*map(_columns, _without_comments(lines))]
        if bare := next((row for row in rows if len(row) < 2 or not row[-1]), None):
            raise DocumentError(offset, f"the word {quoted(bare[0])} has no label; write both in a line")
        if rows:
            record = {"tokens": [row[0] for row in rows], "labels": [row[-1] for row in rows]}
            yield document_of(record, columns, offset, encoding_errors)


def _columns(line: str) -> list[str]:
    return [value.strip() for value in line.split("\t" if "\t" in line else None)]


def _without_comments(lines: Sequence[str]) -> Sequence[str]:
    """The words of a sentence without the comments before them, as CoNLL-U has them: `# text = The fox`.

    The word # begins a line likewise, but has the columns of the first other word.
    """
    first = next((place for place, line in enumerate(lines) if not line.startswith(("# ", "#\t"))), 0)
    return [line for line in lines[:first] if _shape(line) == _shape(lines[first])] + [*lines[first:]]


def _shape(line: str) -> tuple[bool, int]:
    return "\t" in line, len(_columns(line))


def _quoted_rows(file: Path, encoding_errors: str) -> Iterator[tuple[int, list[str]]]:
    """The values of each row, and the byte at which it starts."""
    csv.field_size_limit(MOST_CHARACTERS)
    starts: list[int] = []  # of the row under way

    def lines() -> Iterator[str]:
        for offset, line in iterate_lines(file, whole_file(file), encoding_errors):
            if not starts:
                starts.append(offset)
            yield f"{line}\n"

    try:
        for values in csv.reader(lines(), strict=True):
            yield starts[0], values
            starts.clear()
    except csv.Error as error:
        raise DocumentError(starts[0], f"broken quotes ({error}); write a quote within quotes twice") from error


def _names(values: Sequence[str], offset: int) -> Sequence[str]:
    names = [value.strip() for value in values]
    [(name, count)] = Counter(names).most_common(1)
    if count > 1:
        raise DocumentError(offset, f"{count} columns are called {quoted(name)}")
    return names


def _row(names: Sequence[str], values: Sequence[str], columns: Columns, offset: int, encoding_errors: str) -> Document:
    if len(values) != len(names):
        raise DocumentError(offset, f"the number of values is {len(values)}, and that of names {len(names)}")
    there = zip(names, map(Cell, values), strict=True)
    optional = columns.keys_of(columns.optional)
    record = {name: value for name, value in there if value or name not in optional}
    return document_of(record, columns, offset, encoding_errors)
