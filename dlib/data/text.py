"""A text as it is read: for the training of a tokenizer, and with the place of what is wrong in it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlib.data.compression import format_suffix, is_compressed
from dlib.data.document_error import DocumentError
from dlib.data.filtering import DocumentSieve
from dlib.data.formats import COUNTED_IN_ROWS, reader_of
from dlib.data.lines import MIB, line_number, whole_file
from dlib.data.records import Document
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.shards import shards_of
from dlib.process.errors import UserError
from dlib.process.progress import Progress

LONGEST_WORD = 1024
"""Characters of a word, or of a stretch of blanks, in what a tokenizer is trained on."""
LONGER_WORD = re.compile(rf"(?<!\S)\S{{{LONGEST_WORD + 1},}}|(?<!\s)\s{{{LONGEST_WORD + 1},}}")


def first_document(
    text_file: Path, columns: Columns, encoding_errors: str = "strict", document: str = "line"
) -> Document | None:
    """The first document, by which a text without the columns is told at once; None where there is none.

    Raises:
        UserError: the file is missing, or the document cannot be read or has not all columns.
    """
    return next(iterate_raw(text_file, columns, encoding_errors, document), None)


def iterate_documents(
    text_file: Path,
    encoding_errors: str = "strict",
    columns: Columns = TEXT_ONLY,
    document: str = "line",
    *,
    whole_words: bool = False,
    sieve: DocumentSieve | None = None,
    progress: Progress | None = None,
) -> Iterator[str]:
    """All texts of each document, for the training of a tokenizer; a long one comes in parts.

    So does an endless word, but where `whole_words` are asked for.

    A sieve leaves some documents out. The items of a list are joined by spaces. The progress gets the bytes read.

    Raises:
        UserError: the file is missing, or a document of it cannot be read.
    """
    documents = iterate_raw(text_file, columns.of_text, encoding_errors, document, progress)
    for found in documents if sieve is None else sieve.keep(documents):
        for text in found.sequences:
            joined = text if isinstance(text, str) else " ".join(text)
            yield from [joined] if whole_words else cut_long_words(joined)


def cut_long_words(text: str) -> Iterator[str]:
    """The text, cut within words of more than `LONGEST_WORD` characters.

    The training of a BPE tokenizer takes a time that grows with the square of a word's length: 0.7 s for 16 thousand
    characters without a space, 44 s for 128 thousand, hours for a million.
    """
    start = 0
    for word in LONGER_WORD.finditer(text):
        for cut in range(word.start() + LONGEST_WORD, word.end(), LONGEST_WORD):
            yield text[start:cut]
            start = cut
    yield text[start:]


def require_text(text_file: Path) -> None:
    """Check that a text file is there.

    Raises:
        UserError: it is not.
    """
    if not shards_of(text_file):
        raise UserError(f"no text file {text_file}; name its folder with --data_dir and the file with --train_file")


def iterate_raw(
    text_file: Path,
    columns: Columns,
    encoding_errors: str,
    document: str = "line",
    progress: Progress | None = None,
) -> Iterator[Document]:
    """All documents as they are read, whose bytes the progress gets.

    Raises:
        UserError: the file is missing, or a document of it cannot be read.
    """
    require_text(text_file)
    for file in shards_of(text_file):
        everything = whole_file(file)
        with located(file):
            documents = reader_of(format_suffix(file), document)(file, everything, columns, encoding_errors)
            yield from documents if progress is None else watched(documents, file, progress)


def watched(documents: Iterator[Document], file: Path, progress: Progress) -> Iterator[Document]:
    """Hand the documents of a file on, and say how far it is read: at each MiB, or at its end alone."""
    size, done = whole_file(file).stop, 0
    has_places = not is_compressed(file) and reader_of(format_suffix(file)) not in COUNTED_IN_ROWS
    for document in documents:
        if has_places and document.offset - done >= MIB:
            progress.advance(document.offset - done)
            done = document.offset
        yield document
    progress.advance(size - done)


@contextmanager
def located(file: Path, name: str = "") -> Iterator[None]:
    """Turn what is wrong with a document into the user's error, with the file, by a `name` if it has one, and the line.

    Raises:
        UserError: a document cannot be read.
    """
    try:
        yield
    except DocumentError as error:
        is_row = reader_of(format_suffix(file)) in COUNTED_IN_ROWS
        place = f"row {error.offset + 1}" if is_row else f"line {line_number(file, error.offset)}"
        raise UserError(f"{name or file} {place}: {error.reason}") from error
