"""Compressed texts, read as if they were not: gzip, and Zstandard where its package is installed.

It stands apart because everything that opens a text opens it here. A compressed one is known by its first bytes, so
that it is never taken for a text, whatever it is called; it cannot be read from its middle.
"""

import io
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from dlib.data.document_error import DocumentError
from dlib.data.pairs import files_of
from dlib.process.packages import import_optional

COMPRESSIONS = (".gz", ".zst")
"""Suffixes behind that of the format."""
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""What compressed files begin with, and no text in UTF-8 does."""
BLOCK_BYTES = 16 * 1024
FEWEST_BYTES = 16
"""Are read at a time, but at the end: who looks for a byte order mark sees all of it."""


Decompression = tuple[Callable[[], Any], type[Exception]]
"""What begins to decompress, and what it raises where it cannot."""


def format_suffix(file: Path) -> str:
    """The suffix of a file's name that says its format, in lower case: `.jsonl` of `a.JSONL` and `a.jsonl.gz` too."""
    return (file.with_suffix("") if file.suffix.lower() in COMPRESSIONS else file).suffix.lower()


def is_compressed(file: Path) -> bool:
    """Whether a file, or the first of two, is compressed."""
    with files_of(file)[0].open("rb") as opened:
        return opened.read(len(ZSTANDARD)).startswith((GZIP, ZSTANDARD))


def open_text(file: Path) -> io.BufferedReader:
    """Open a text, or the first of two. One that is compressed can be read from its start to its end alone.

    Where it is damaged, reading raises `DocumentError`.

    Raises:
        UserError: a package is missing.
    """
    file = files_of(file)[0]
    opened = file.open("rb")
    if not is_compressed(file):
        return opened
    return io.BufferedReader(_Decompressed(opened, decompression(file)), BLOCK_BYTES)


def decompression(file: Path) -> Decompression:
    """How to decompress a compressed file.

    Raises:
        UserError: a package is missing.
    """
    with file.open("rb") as opened:
        if opened.read(len(GZIP)) == GZIP:
            return partial(zlib.decompressobj, wbits=16 + zlib.MAX_WBITS), zlib.error
    zstandard = import_optional("zstandard", str(file))
    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError


class _Decompressed(io.RawIOBase):
    """The text of a compressed file, which may be several end to end."""

    def __init__(self, source: BinaryIO, decompression: Decompression) -> None:
        self._source, (self._begin, self._refusal) = source, decompression
        self._stream = self._begin()
        self._left = memoryview(b"")  # what was decompressed and not read yet
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self._left) < FEWEST_BYTES and (block := self._source.read(BLOCK_BYTES)):
            self._left = memoryview(bytes(self._left) + self._decompress(block))
        if not self._left and not self._stream.eof:
            raise DocumentError(self._offset, "here the compressed file breaks off; copy or download it again")
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        self._offset += count
        return count

    def close(self) -> None:
        self._source.close()
        super().close()

    def _decompress(self, block: bytes) -> bytes:
        found = b""
        try:
            while block and not (self._stream.eof and not block.strip(b"\0")):  # a file from a tape is padded
                if self._stream.eof:
                    self._stream = self._begin()
                found += self._stream.decompress(block)
                block = self._stream.unused_data
        except self._refusal as error:
            raise DocumentError(self._offset, f"the compressed file is damaged ({error})") from error
        return found
