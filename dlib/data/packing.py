"""Rows of token ids, cut from a token store: the documents end to end, or one document a row.

It stands apart from the store because the same store serves every row length, and from the objectives
because what a row holds does not depend on what is learned from it. A row is computed from its number
alone, in O(1); nothing is held but the mapped files.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from dlib.data.samples import Sample, SampleKey
from dlib.data.token_store import TokenStore
from dlib.process.errors import UserError

PADDING_MULTIPLE = 8
"""Padded rows are a multiple of this long: tensor cores want it, and compiled graphs see fewer shapes. Rows that were
chosen for their like lengths are not, as this would be most of their padding."""
_MULTIPLE = ContextVar("what the width of padded rows is a multiple of", default=PADDING_MULTIPLE)

LENGTHS_AT_ONCE = 1 << 20
"""Rows whose lengths are read at one go."""


@contextmanager
def padding(*, of_like_lengths: bool) -> Iterator[None]:
    """Within it, rows of like lengths are padded to the longest, and others to a multiple of `PADDING_MULTIPLE`."""
    token = _MULTIPLE.set(1 if of_like_lengths else PADDING_MULTIPLE)
    try:
        yield
    finally:
        _MULTIPLE.reset(token)


def padded_width(lengths: Sequence[int]) -> int:
    """Tokens to which rows of such lengths are padded: those of one length are not padded at all, see `padding`."""
    longest, multiple = max(lengths), _MULTIPLE.get()
    return longest if min(lengths) == longest else -(-longest // multiple) * multiple


class Rows(Protocol):
    """Numbered rows of token ids, all that an evaluation needs."""

    def __len__(self) -> int:
        """Number of rows, at least 1."""

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """Row `index`, at most the source's `max_length` tokens a sequence; what is drawn for it is drawn by `key`."""


class RowSource(Rows, Protocol):
    """Rows that are trained on."""

    @property
    def num_tokens(self) -> int:
        """Sum of the lengths of all rows, special tokens included."""


@dataclass(frozen=True)
class PackedRows:
    """Rows filled with the documents end to end: the lead token, then the next tokens of the stream.

    Documents that are kept apart each begin with a lead, as a row does: the stream has one before each document but the
    first. No token of the text is dropped but those of the last row, where it would be partial. That row stays
    with `keep_tail`, so that an evaluation counts each token once, and where it is the only one.
    """

    store: TokenStore  # the text
    max_length: int  # tokens in a row, the lead included
    lead_id: int  # id that starts each row
    keep_tail: bool  # whether a last, shorter row stays
    keep_apart: bool = False  # whether each document has a lead of its own, and the row says where that is

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            UserError: there is no room for text.
        """
        require_room(self.max_length, num_special=1)

    def __len__(self) -> int:
        """Number of rows."""
        full, tail = divmod(self._stream_length, self.max_length - 1)
        return full + (tail > 0 and (self.keep_tail or full == 0))

    @property
    def num_tokens(self) -> int:
        """Sum of the lengths of all rows, lead tokens included."""
        return min(self._stream_length, len(self) * (self.max_length - 1)) + len(self)

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """Row `index`, (T,) int64; T = max_length but for a kept tail.

        Raises:
            IndexError: there is no such row.
        """
        _require_row(index, len(self))
        start = index * (self.max_length - 1)
        end = min(start + self.max_length - 1, self._stream_length)
        if not self.keep_apart:
            return Sample((_joined([self.lead_id], self.store.tokens[start:end], []),), number=index, key=key)
        first, last = self._leads_before(start), self._leads_before(end)
        own = np.arange(first + 1, last + 1)  # documents that begin in this row
        tokens = self.store.tokens[start - first : end - last]
        body = np.insert(tokens, self.store.offsets[own] - (start - first), self.lead_id)
        starts = self.store.offsets[own] + own - start
        return Sample((_joined([self.lead_id], body, []),), number=index, key=key, document_starts=starts)

    @property
    def _stream_length(self) -> int:
        return self.store.num_tokens + (self.store.num_documents - 1 if self.keep_apart else 0)

    def _leads_before(self, place: int) -> int:
        """Number of leads in the stream before a place; that of document d stands at offsets[d] + d - 1."""
        offsets, documents = self.store.offsets, range(1, self.store.num_documents)
        return bisect_left(documents, place, key=lambda document: int(offsets[document]) + document - 1)


@dataclass(frozen=True)
class LineRows:
    """One row a document. A sequence is prefix, its ids without separator and cut to fit, and mostly suffix."""

    store: TokenStore  # the text
    max_length: int  # most tokens in a sequence, prefix and suffix included
    prefix_ids: Sequence[int]  # ids that start each sequence
    suffix_ids: Sequence[int]  # ids that end each sequence
    # whether they also end a sequence that had to be cut; not where they are predicted: such a text does not end there
    close_truncated: bool = True

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            UserError: it has no room for text.
        """
        require_room(self.max_length, self._num_special)

    def __len__(self) -> int:
        """Number of rows."""
        return self.store.num_documents

    @cached_property
    def num_tokens(self) -> int:
        """Sum of the lengths of all sequences, special tokens included."""
        starts = range(0, len(self), LENGTHS_AT_ONCE)
        return sum(int(self.lengths(start, min(start + LENGTHS_AT_ONCE, len(self))).sum()) for start in starts)

    def lengths(self, first: int, last: int) -> np.ndarray:
        """Tokens of each sequence of the rows `first` to `last`, special ones included, (n, S) int64."""
        size = self.store.num_sequences
        lengths = np.diff(self.store.offsets[first * size : last * size + 1]).reshape(-1, size) - 1
        room = self.max_length - self._num_special
        ends = np.where(self.close_truncated | (lengths <= room), len(self.suffix_ids), 0)
        return np.minimum(len(self.prefix_ids) + lengths + ends, self.max_length)

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """Document `index`: its sequences, each (T,) int64 with T at most `max_length`, its fields, and what is known
        of its tokens.

        Raises:
            IndexError: there is no such row.
        """
        _require_row(index, len(self))
        store, recipe = self.store, self.store.recipe
        segments = [store.segment(index, place) for place in range(store.num_sequences)]
        sequences = tuple(map(self._framed, segments))
        fields = {name: store.field(name, index) for name in recipe.fields}
        lengths = {name: store.item_lengths(name, index) for name in recipe.lists}
        offsets = {name: store.character_offsets(name, index) for name in recipe.offsets}
        is_whole = all(map(self._fits, segments))
        return Sample(sequences, fields, index, key, lengths, offsets, is_whole)

    def _fits(self, ids: np.ndarray) -> bool:
        return len(ids) <= self.max_length - self._num_special

    def _framed(self, ids: np.ndarray) -> np.ndarray:
        suffix_ids = self.suffix_ids if self._fits(ids) or self.close_truncated else []
        return framed(ids, self.max_length, self.prefix_ids, suffix_ids)

    @property
    def _num_special(self) -> int:
        return len(self.prefix_ids) + len(self.suffix_ids)


def framed(
    ids: Sequence[int] | np.ndarray, max_length: int, prefix_ids: Sequence[int], suffix_ids: Sequence[int]
) -> np.ndarray:
    """A text as a row: its ids, cut to make room, between the special ones; at most `max_length`, (T,) int64."""
    return _joined(prefix_ids, ids[: max_length - len(prefix_ids) - len(suffix_ids)], suffix_ids)


def _joined(prefix_ids: Sequence[int], body: Sequence[int] | np.ndarray, suffix_ids: Sequence[int]) -> np.ndarray:
    row = np.empty(len(prefix_ids) + len(body) + len(suffix_ids), dtype=np.int64)
    row[: len(prefix_ids)] = prefix_ids
    row[len(prefix_ids) : len(row) - len(suffix_ids)] = body
    row[len(row) - len(suffix_ids) :] = suffix_ids
    return row


def require_room(max_length: int, num_special: int) -> None:
    """Refuse rows that special tokens alone would fill; raises `UserError`."""
    if max_length <= num_special:
        raise UserError(
            f"--max_length {max_length} leaves no room for text beside {num_special} special tokens; "
            f"give at least {num_special + 1}"
        )


def _require_row(index: int, num_rows: int) -> None:
    if not 0 <= index < num_rows:
        raise IndexError(f"row {index} is not in range({num_rows})")
