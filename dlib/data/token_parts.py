"""Texts on their way to a tokenizer and back: cut into stretches before, gathered into the arrays of a part after.

It stands apart from tokenizing, which reads, encodes and writes, because here is all that is kept of tokens beside
their ids: how long each sequence and each item of a list is, and which characters a token stands for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from dlib.data.fields import LENGTH_TYPE
from dlib.data.lines import PIECE_BYTES
from dlib.data.records import Document
from dlib.data.samples import Columns
from dlib.data.unknown_words import UnknownWordError

SPAN_TYPE = np.dtype("<u4")
NO_SPAN = (0, 0)


class Encoding(Protocol):
    """What a tokenizer makes of a text."""

    @property
    def ids(self) -> Sequence[int] | np.ndarray:
        """Of its tokens, without special ones."""

    @property
    def offsets(self) -> Sequence[tuple[int, int]]:
        """First character of each token, and the one after its last; asked for by `Columns.offsets` alone."""


Encode = Callable[[list[str]], Iterable[Encoding]]


class Stretch(NamedTuple):
    """What is tokenized at one go: a text, or a part of a long one."""

    text: str
    sequence: int  # place in `Columns.sequences`
    ends_item: bool  # of a list
    ends_sequence: bool
    offset: int  # byte of the file at which its document starts


def cut_documents(documents: Iterable[Document], lead: str = "") -> Iterator[Stretch]:
    """The texts of documents, long ones cut before a space where they have one; `lead` stands before items of lists."""
    for document in documents:
        for number, text in enumerate(document.sequences):
            if isinstance(text, str):
                yield from _cut(Stretch(text, number, False, document.is_whole, document.offset))
                continue
            for place, item in enumerate(text, start=1):
                led = lead + item if item and not item[0].isspace() else item
                yield from _cut(Stretch(led, number, True, place == len(text), document.offset))
            if not text:
                yield Stretch("", number, ends_item=False, ends_sequence=True, offset=document.offset)


def _cut(whole: Stretch) -> Iterator[Stretch]:
    """Stretches of at most `PIECE_BYTES` characters, each but the first beginning with a space if it can."""
    text, start = whole.text, 0
    while len(text) - start > PIECE_BYTES:
        space = text.rfind(" ", start + 1, start + PIECE_BYTES)
        stop = space if space > 0 else start + PIECE_BYTES
        yield whole._replace(text=text[start:stop], ends_item=False, ends_sequence=False)
        start = stop
    yield whole._replace(text=text[start:])


def item_lead(encode: Encode) -> str:
    """What has to stand before a word for the tokens that it has after another word: a space, or nothing."""
    try:
        alone, spaced, both = (list(encoding.ids) for encoding in encode(["a", " a", "a a"]))
    except UnknownWordError:  # its tokens are words, which do without
        return ""
    return " " if both == alone + spaced != alone + alone else ""


@dataclass
class SequenceSoFar:
    """Of the sequence that is under way: sizes."""

    tokens: int = 0
    num_bytes: int = 1  # UTF-8 bytes, and one for the end
    characters: int = 0
    items: int = 0  # of a list, that have ended
    item_start: int = 0  # in tokens, where the next one begins


class PartArrays:
    """What is known of the tokens of a range: an array for each of its files, by suffix."""

    def __init__(self, columns: Columns, separator_id: int, dtype: str) -> None:
        """Begin a range."""
        self.columns = columns
        self._separator = np.array([separator_id], np.dtype(dtype))
        self.num_bytes = 0  # UTF-8 bytes of the sequences that are kept, and one for the end of each
        self.dtypes = {".tokens": np.dtype(dtype), ".lengths": LENGTH_TYPE}
        self.dtypes |= {".items": LENGTH_TYPE, ".counts": LENGTH_TYPE} if columns.lists else {}
        self.dtypes |= {".spans": SPAN_TYPE} if columns.offsets else {}
        self._gathered: dict[str, list[Any]] = {suffix: [] for suffix in self.dtypes}
        self._sequence = SequenceSoFar()

    def add(self, stretch: Stretch, encoding: Encoding) -> None:
        """Add the tokens of the next stretch of a document."""
        ids = encoding.ids
        self._gathered[".tokens"].append(np.asarray(ids, self.dtypes[".tokens"]))
        if self.columns.offsets:
            self._gathered[".spans"].extend(self._spans(stretch, encoding, len(ids)))
        sequence = self._sequence
        sequence.tokens += len(ids)
        sequence.num_bytes += len(stretch.text.encode())
        sequence.characters += len(stretch.text)
        if stretch.ends_item:
            self._gathered[".items"].append(sequence.tokens - sequence.item_start)
            sequence.items, sequence.item_start = sequence.items + 1, sequence.tokens
        if stretch.ends_sequence:
            self._end_sequence(stretch)

    def take(self, suffix: str) -> np.ndarray:
        """What has gathered since it was last taken; a sequence may be under way."""
        gathered = self._gathered[suffix]
        dtype = self.dtypes[suffix]
        array = np.concatenate([np.empty(0, dtype), *gathered]) if suffix == ".tokens" else np.array(gathered, dtype)
        gathered.clear()
        return array

    def _end_sequence(self, stretch: Stretch) -> None:
        if self._sequence.tokens or self.columns.is_aligned:
            self._gathered[".tokens"].append(self._separator)
            self._gathered[".lengths"].append(self._sequence.tokens + 1)
            self.num_bytes += self._sequence.num_bytes
            if self.columns.offsets:
                self._gathered[".spans"].append(NO_SPAN)
        if self.columns.sequences[stretch.sequence] in self.columns.lists:
            self._gathered[".counts"].append(self._sequence.items)
        self._sequence = SequenceSoFar()

    def _spans(self, stretch: Stretch, encoding: Encoding, count: int) -> Iterable[tuple[int, int]]:
        """In characters of the sequence."""
        if self.columns.sequences[stretch.sequence] not in self.columns.offsets:
            return [NO_SPAN] * count
        begun = self._sequence.characters
        trimmed = (_trimmed(stretch.text, *span) for span in encoding.offsets)
        return [(begun + start, begun + stop) for start, stop in trimmed]


def _trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    """Without the blanks around a word, which some tokenizers count and others do not."""
    word = text[start:stop].lstrip()
    return stop - len(word), stop - len(word) + len(word.rstrip())
