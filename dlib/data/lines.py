"""Lines of a file, in bounded memory whatever their length, and ranges of whole lines that are read on their own.

It stands apart because every format of a document a line reads by it, and all must agree on what a line is: the bytes
up to a line feed, without it and without a carriage return before it. Everything else (a lone carriage return, a NUL,
U+2028) is data.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dlib.data.compression import is_compressed, open_text
from dlib.data.document_error import DocumentError
from dlib.data.pairs import files_of, is_pair

MIB = 1024 * 1024
PIECE_BYTES = MIB
"""A longer line is read, decoded and tokenized in pieces of about this size."""
RANGE_BYTES = MIB
"""A range of whole lines that is tokenized at one go has about this size."""

ENDLESS = 2**63 - 1
"""Where a text ends whose size is not known."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_CHARACTER_BYTES = 4


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` up to `stop` of a file: some whole lines."""

    start: int
    stop: int


class Piece(NamedTuple):
    """A line, or a part of a long one."""

    offset: int  # byte of the file at which it starts
    text: str  # the decoded characters, without the line's end
    ends_line: bool  # whether the next piece belongs to the next line


def document_ranges(file: Path, range_bytes: int = RANGE_BYTES) -> Iterator[ByteRange]:
    """Cut a file at line ends into ranges of about `range_bytes`, a longer line staying whole.

    A compressed one, and two that belong together, are not cut.
    """
    if is_compressed(file) or is_pair(file.name):
        yield whole_file(file)
        return
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        start = 0
        while start < size:
            # From the last byte of the range on, so that a range which already ends with a line feed stays.
            opened.seek(start + range_bytes - 1)
            _skip_line(opened)
            stop = min(opened.tell(), size)
            yield ByteRange(start, stop)
            start = stop


def iterate_pieces(file: Path, byte_range: ByteRange, encoding_errors: str) -> Iterator[Piece]:
    """The lines of a range of whole lines (`document_ranges`), decoded; a long one in pieces that concatenate to it.

    A long line is cut before a space where it has one: tokenizers of every family take a space and the
    word after it as the start of something new, so that the tokens are those of the whole line. A
    stretch of a MiB without any space is cut between two characters, wherever it may be.

    Raises:
        DocumentError: bytes are not UTF-8 and `encoding_errors` is "strict".
    """
    byte_range = text_range(file, byte_range)
    with open_text(file) as opened:
        offset, rest = byte_range.start, b""
        if offset:
            opened.seek(offset)
        elif opened.peek(len(BYTE_ORDER_MARK)).startswith(BYTE_ORDER_MARK):
            offset = len(opened.read(len(BYTE_ORDER_MARK)))
        while offset < byte_range.stop and (data := rest + opened.readline(PIECE_BYTES - len(rest))):
            # Less than was asked for is the last of the file, which can be without a line feed.
            ends_line = data.endswith(b"\n") or len(data) < PIECE_BYTES or offset + len(data) == byte_range.stop
            cut = len(data) if ends_line else _cut(data)
            rest = data[cut:]
            content = _without_line_end(data) if ends_line else data[:cut]
            yield Piece(offset, _decode(content, offset, encoding_errors), ends_line)
            offset += cut


def iterate_lines(file: Path, byte_range: ByteRange, encoding_errors: str) -> Iterator[tuple[int, str]]:
    """Where each line of a range starts, in bytes, and its text, which is held whole; raises as `iterate_pieces`."""
    return join_pieces(iterate_pieces(file, byte_range, encoding_errors))


def join_pieces(pieces: Iterable[Piece]) -> Iterator[tuple[int, str]]:
    """Where each line, or other whole, starts, and its text, put together from its pieces."""
    own: list[Piece] = []
    for piece in pieces:
        own.append(piece)
        if piece.ends_line:
            yield own[0].offset, "".join(piece.text for piece in own)
            own = []


def whole_file(file: Path) -> ByteRange:
    """All of a file, or of the first of two."""
    return ByteRange(0, files_of(file)[0].stat().st_size)


def text_range(file: Path, byte_range: ByteRange) -> ByteRange:
    """The range of the text's own bytes: all of them where the file is compressed."""
    return ByteRange(0, ENDLESS) if is_compressed(file) else byte_range


def line_number(file: Path, offset: int) -> int:
    """The number of the line that the byte at `offset` stands in, from 1."""
    line, left = 1, offset
    with open_text(file) as opened, suppress(DocumentError):  # it may be the place where a file is damaged
        while block := opened.read(min(MIB, left)):
            line, left = line + block.count(b"\n"), left - len(block)
    return line


def _decode(content: bytes, offset: int, encoding_errors: str) -> str:
    try:
        return content.decode("utf-8", encoding_errors)
    except UnicodeDecodeError as error:
        reason = (
            "bytes that are not UTF-8; convert the file, "
            "or go on with U+FFFD in their place with --encoding_errors replace"
        )
        raise DocumentError(offset + error.start, reason) from error


def _skip_line(opened: BinaryIO) -> None:
    while (part := opened.readline(PIECE_BYTES)) and not part.endswith(b"\n"):
        pass


def _without_line_end(line: bytes) -> bytes:
    if line.endswith(b"\r\n"):
        return line[:-2]
    return line.removesuffix(b"\n")


def _cut(data: bytes) -> int:
    """Length of the piece to cut from the start of a longer line; at least one byte stays unless it is not UTF-8."""
    space = data.rfind(b" ", 1)
    if space > 0:
        return space
    for length in range(1, LONGEST_CHARACTER_BYTES + 1):
        if data[-length] & 0b1100_0000 != 0b1000_0000:
            return max(len(data) - length, 1)
    return len(data)
