"""Reading a text file, one document a line, in bounded memory whatever the length of its lines.

It stands apart because both the tokenizer's training and the token store read text, and must agree on
what a document is: the bytes up to a line feed, without it and without a carriage return before it.
Everything else (a lone carriage return, a NUL, U+2028) is data.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dlib.args import DataArgs
from dlib.process.errors import UserError

MIB = 1024 * 1024
PIECE_BYTES = MIB
"""A longer line is read, decoded and tokenized in pieces of about this size."""
RANGE_BYTES = MIB
"""A range of whole lines that is tokenized at one go has about this size."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_CHARACTER_BYTES = 4
LONGEST_WORD = 1024
"""Characters of a word, or of a stretch of blanks, in what a tokenizer is trained on."""
LONGER_WORD = re.compile(rf"(?<!\S)\S{{{LONGEST_WORD + 1},}}|(?<!\s)\s{{{LONGEST_WORD + 1},}}")
DEV_FILES = ("dev.txt", "val.txt")


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` up to `stop` of a file: some whole lines."""

    start: int
    stop: int


class Piece(NamedTuple):
    """A document, or a part of a long one.

    Attributes:
        text: the decoded characters, without the line's end.
        ends_document: whether the next piece belongs to the next document.
    """

    text: str
    ends_document: bool


@dataclass(frozen=True)
class TextFiles:
    """The two texts of a run."""

    train: Path
    dev: Path


class UndecodableError(Exception):
    """Bytes that are not UTF-8, at a byte offset of the file. Becomes a `UserError` once the line is known."""

    def __init__(self, offset: int) -> None:
        """Remember where: `offset` counts bytes from the file's start."""
        super().__init__(offset)
        self.offset = offset


def find_text(args: DataArgs) -> TextFiles:
    """Find the training and the development text.

    Raises:
        UserError: one of them is missing or empty.
    """
    return TextFiles(find_split(args, "train"), find_split(args, "dev"))


def find_split(args: DataArgs, split: str) -> Path:
    """Find one text: `train`, `dev`, or another name, of `<name>.txt`.

    Raises:
        UserError: it is missing, cannot be read, or holds nothing but line ends.
    """
    folder = Path(args.data_dir)
    if folder.is_file():
        raise UserError(f"--data_dir {folder} is a file: give its folder, and its name with --train_file or --dev_file")
    if not folder.is_dir():
        raise UserError(f"--data_dir {folder}: there is no such folder; it holds train.txt and dev.txt")
    own = {"train": ((args.train_file,), "training"), "dev": (DEV_FILES, "dev")}
    names, text = own.get(split, ((f"{split}.txt",), split))
    if split == "dev" and args.dev_file is not None:
        names = (args.dev_file,)
    advice = f"name the {text} text with --{split}_file" if split in own else "--split NAME reads NAME.txt"
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise UserError(f"--data_dir {folder}: it has no {' or '.join(names)}; {advice}")
    if is_empty(found):
        raise UserError(f"{found} is empty; {advice}")
    return found


def is_empty(text_file: Path) -> bool:
    """Whether a text holds nothing but line ends; it is read up to its first letter.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with text_file.open("rb") as file:
            return not any(block.strip(b"\r\n") for block in iter(partial(file.read, MIB), b""))
    except OSError as error:
        raise UserError(f"cannot read {text_file}: {error.strerror}; see --data_dir and --train_file") from error


def document_ranges(text_file: Path, range_bytes: int = RANGE_BYTES) -> Iterator[ByteRange]:
    """Cut a file at line ends into ranges of about `range_bytes`, a longer line staying whole."""
    with text_file.open("rb") as file:
        size = file.seek(0, 2)
        start = 0
        while start < size:
            # From the last byte of the range on, so that a range which already ends with a line feed stays.
            file.seek(start + range_bytes - 1)
            _skip_line(file)
            stop = min(file.tell(), size)
            yield ByteRange(start, stop)
            start = stop


def iterate_documents(text_file: Path, encoding_errors: str = "strict") -> Iterator[str]:
    """The text of each document, for the training of a tokenizer; a long one, or an endless word, comes in parts.

    Raises:
        UserError: the file is missing, or bytes are not UTF-8 and `encoding_errors` is "strict".
    """
    require_text(text_file)
    everything = ByteRange(0, text_file.stat().st_size)
    try:
        for piece in iterate_pieces(text_file, everything, encoding_errors):
            yield from cut_long_words(piece.text)
    except UndecodableError as error:
        raise undecodable_text(text_file, error.offset) from error


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


def iterate_pieces(text_file: Path, byte_range: ByteRange, encoding_errors: str) -> Iterator[Piece]:
    """The documents of a range of whole lines, decoded; a long one in pieces that concatenate to it.

    A long line is cut before a space where it has one: tokenizers of every family take a space and the
    word after it as the start of something new, so that the tokens are those of the whole line. A
    stretch of a MiB without any space is cut between two characters, wherever it may be.

    Args:
        text_file: the file.
        byte_range: a range of `document_ranges`.
        encoding_errors: "strict", "replace" or "ignore", as in `bytes.decode`.

    Raises:
        UndecodableError: bytes are not UTF-8 and `encoding_errors` is "strict".
    """
    with text_file.open("rb") as file:
        offset = file.seek(byte_range.start)
        if offset == 0 and file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
            file.seek(0)
        offset, rest = file.tell(), b""
        while offset < byte_range.stop and (data := rest + file.readline(PIECE_BYTES - len(rest))):
            ends_line = data.endswith(b"\n") or offset + len(data) == byte_range.stop
            cut = len(data) if ends_line else _cut(data)
            rest = data[cut:]
            content = _without_line_end(data) if ends_line else data[:cut]
            yield Piece(_decode(content, offset, encoding_errors), ends_line)
            offset += cut


def require_text(text_file: Path) -> None:
    """Check that a text file is there.

    Raises:
        UserError: it is not.
    """
    if not text_file.is_file():
        raise UserError(f"no text file {text_file}; name its folder with --data_dir and the file with --train_file")


def undecodable_text(text_file: Path, offset: int) -> UserError:
    """The user's error about bytes that are not UTF-8, with the line of the byte at `offset`."""
    with text_file.open("rb") as file:
        line, left = 1, offset
        while block := file.read(min(MIB, left)):
            line, left = line + block.count(b"\n"), left - len(block)
    return UserError(
        f"{text_file} line {line}: bytes that are not UTF-8; convert the file, "
        "or go on with U+FFFD in their place with --encoding_errors replace"
    )


def _decode(content: bytes, offset: int, encoding_errors: str) -> str:
    try:
        return content.decode("utf-8", encoding_errors)
    except UnicodeDecodeError as error:
        raise UndecodableError(offset + error.start) from error


def _skip_line(file: BinaryIO) -> None:
    while (part := file.readline(PIECE_BYTES)) and not part.endswith(b"\n"):
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
