"""Documents of several lines, in bounded memory: what stands between blank lines, or all of a file.

It stands apart from `lines`, on which it builds: a document can begin in one range of the file and end in another.
"""

from collections.abc import Iterator
from pathlib import Path

from dlib.data.lines import PIECE_BYTES, ByteRange, Piece, iterate_pieces, text_range

BLANKS = " \t\r"
"""A line of these alone is blank."""


def iterate_passages(
    file: Path, byte_range: ByteRange, encoding_errors: str, *, at_blank_lines: bool
) -> Iterator[Piece]:
    """The documents of a range, their lines joined by line feeds; a long one in pieces that concatenate to it.

    A document belongs to the range of the blank line before it, the first one to that which starts at 0. It is read
    beyond the end of its range. Long ones are cut where `iterate_pieces` cuts a long line.

    Raises:
        DocumentError: bytes are not UTF-8 and `encoding_errors` is "strict".
    """
    byte_range = text_range(file, byte_range)
    is_ours, starts_line = byte_range.start == 0, True
    if not is_ours and not at_blank_lines:
        return
    text, offset = "", byte_range.start
    for piece in iterate_pieces(file, ByteRange(byte_range.start, file.stat().st_size), encoding_errors):
        is_blank = at_blank_lines and starts_line and piece.ends_line and not piece.text.strip(BLANKS)
        is_beyond = piece.offset >= byte_range.stop
        if is_beyond and (is_blank or not is_ours):
            break
        if is_blank:
            if text:
                yield Piece(offset, text, ends_line=True)
            text, is_ours = "", True
        elif is_ours:
            offset = offset if text else piece.offset
            text += "\n" * (starts_line and text != "") + piece.text
            if len(text.rstrip("\n")) > PIECE_BYTES:  # line feeds may be the last, which are not part of it
                cut = max(text.rfind(" "), 0) or PIECE_BYTES
                yield Piece(offset, text[:cut], ends_line=False)
                text = text[cut:]
        starts_line = piece.ends_line
    if text:
        yield Piece(offset, text.rstrip("\n"), ends_line=True)
