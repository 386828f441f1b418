"""Rows in the order of their lengths, and batches of neighbours in it that stay within a budget of tokens.

    lengths of all rows --sort--> classes of rows that have the same lengths --cut--> batches, each a range of the order

It stands apart because a training and an evaluation take batches from the same order. What is kept is a number a row
(4 bytes), and a line a class. A row may have several lengths, of a source and a target that are padded by themselves;
what a batch costs is the sum over them of their widths, times its rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from dlib.data.mixture import MixedRows
from dlib.data.packing import LENGTHS_AT_ONCE, Rows
from dlib.data.permutation import permute
from dlib.process.seeding import derive_key


@dataclass(frozen=True, eq=False)
class LengthOrder:
    """All rows in the order of their lengths, C classes with S lengths each.

    Neighbouring classes differ little in every length: the second one grows in one class of the first, and falls in the
    next.
    """

    numbers: np.ndarray  # of the rows, class by class, (N,), the smallest unsigned type
    lengths: np.ndarray  # of each class, (C, S) int64
    starts: np.ndarray  # where in the order each class begins, and the end, (C + 1,) int64

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.numbers)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.numbers)

    @property
    def num_tokens(self) -> int:
        """Sum of all lengths."""
        return int((np.diff(self.starts) * self.lengths.sum(1)).sum())

    @property
    def most_tokens(self) -> int:
        """Of one row."""
        return int(self.lengths.sum(1).max())

    def cut(self, budget: int, parts: int = 1) -> np.ndarray:
        """Cut the order into batches, each as large as its budget allows.

        A batch is dealt out evenly to `parts`, none of which exceeds its share of the budget: rows times the width to
        which they are padded. A row that exceeds it by itself is a batch by itself.

        Returns:
            Where each batch begins, and the end, (batches + 1,) int64.
        """
        edges, held, longest = [np.zeros(1, np.int64)], 0, self.lengths[0]
        for place, lengths in enumerate(self.lengths):
            start, end = self.starts[place : place + 2].tolist()
            if held:  # the batch before takes what it still can
                longest = np.maximum(longest, lengths)
                room = max(0, _capacity(longest, budget, parts) - held)
                taken = min(room, end - start)
                held, start = held + taken, start + taken
                if taken == room:
                    edges.append(np.array([start]))
                    held = 0
            if start < end:
                size = _capacity(lengths, budget, parts)
                whole, held = divmod(end - start, size)
                edges.append(np.arange(1, whole + 1) * size + start)
                longest = lengths
        return np.unique(np.concatenate([*edges, self.starts[-1:]]))

    def samples(self, first: int, last: int, epoch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and numbers of the samples at places `first` to `last` in an epoch of a run: two (B,) int64."""
        places = np.arange(first, last)
        numbers = self.rows(places, lambda rows: derive_key("order of like rows", seed, epoch, rows))
        return np.full_like(numbers, epoch), numbers

    def rows(self, places: np.ndarray, key: Callable[[int], int]) -> np.ndarray:
        """The rows at some places (B,), with those of each class in an order of their own, (B,) int64.

        Args:
            places: in the order, int64.
            key: names the order of a class by its number.
        """
        shuffled, classes = places.copy(), self._class_at(places)
        for number in np.unique(classes).tolist():
            start, end = self.starts[number : number + 2].tolist()
            if end - start > 1:
                own = classes == number
                shuffled[own] = start + permute(places[own] - start, end - start, key(number))
        return self.numbers[shuffled].astype(np.int64)

    def batches(self, budget: int) -> list[np.ndarray]:
        """Numbers of the rows of each batch, in no further order, (B,) int64."""
        edges = self.cut(budget)
        return [self.numbers[first:last].astype(np.int64) for first, last in pairwise(edges.tolist())]

    def padded_tokens(self, edges: np.ndarray) -> int:
        """Tokens of all batches between neighbouring `edges`, padding included; empty ones have none."""
        firsts, lasts = edges[:-1], edges[1:]
        is_filled = firsts < lasts
        firsts, lasts = firsts[is_filled], lasts[is_filled]
        return int(((lasts - firsts) * self.longest(firsts, lasts).sum(1)).sum())

    def longest(self, firsts: np.ndarray, lasts: np.ndarray) -> np.ndarray:
        """The largest lengths between places `firsts` and `lasts`, (B,) each and none of them empty, (B, S) int64."""
        ends = np.stack([self._class_at(firsts), self._class_at(lasts - 1) + 1], axis=1).ravel()
        lengths = np.concatenate([self.lengths, self.lengths[-1:]])  # so that the last end is a place, too
        return np.maximum.reduceat(lengths, ends)[::2]

    def _class_at(self, places: Any) -> Any:
        return np.searchsorted(self.starts, places, side="right") - 1


def _capacity(longest: np.ndarray, budget: int, parts: int) -> int:
    """Rows of at most such lengths (S,) in a batch of so many parts, at least 1."""
    return max(1, parts * (budget // parts // int(longest.sum())))


def order_by_length(rows: Rows, count: int | None = None) -> LengthOrder:
    """Read the lengths of all rows, or of the first `count`, and sort them."""
    return sort_by_length(read_lengths(rows, len(rows) if count is None else count))


def sort_by_length(lengths: np.ndarray) -> LengthOrder:
    """Sort rows of such lengths (N, S)."""
    base = int(lengths.max()) + 1
    chunks = [lengths[first : first + LENGTHS_AT_ONCE] for first in range(0, len(lengths), LENGTHS_AT_ONCE)]
    codes = np.unique(np.concatenate([np.unique(encode(chunk, base)) for chunk in chunks]))
    sizes = sum(np.bincount(np.searchsorted(codes, encode(chunk, base)), minlength=len(codes)) for chunk in chunks)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    numbers, free, first = np.empty(len(lengths), np.min_scalar_type(len(lengths))), starts[:-1].copy(), 0
    for chunk in chunks:
        classes = np.searchsorted(codes, encode(chunk, base))
        counts = np.bincount(classes, minlength=len(codes))
        shift = np.repeat(free - np.cumsum(counts) + counts, counts)  # from a place in the chunk to one in the order
        by_class = np.argsort(classes.astype(np.min_scalar_type(len(codes))), kind="stable")  # small types sort faster
        numbers[shift + np.arange(len(chunk))] = first + by_class
        free += counts
        first += len(chunk)
    return LengthOrder(numbers, decode(codes, base, lengths.shape[1]), starts)


def read_lengths(rows: Rows, count: int) -> np.ndarray:
    """Lengths of the first `count` rows, (count, S), in the smallest type that holds them.

    A source may say them: `lengths(first, last) -> (n, S)`, a length for each tensor that holds its rows. Of one that
    does not, each row is read, and counts as one sequence of all its tokens.
    """
    if isinstance(rows, MixedRows):
        return np.concatenate([read_lengths(part, len(part)) for part in rows.parts])[:count]
    tell, chunks = getattr(rows, "lengths", None), []
    for first in range(0, count, LENGTHS_AT_ONCE):
        places = first, min(first + LENGTHS_AT_ONCE, count)
        told = np.array([[rows.sample(n).num_tokens] for n in range(*places)]) if tell is None else tell(*places)
        chunks.append(told.astype(np.min_scalar_type(int(told.max()))))
    return np.concatenate(chunks)


def encode(lengths: np.ndarray, base: int) -> np.ndarray:
    """Lengths (n, S) below `base` as numbers (n,) int64 in the order of `LengthOrder`."""
    assert base ** lengths.shape[1] < 2**63, f"{lengths.shape[1]} lengths of up to {base - 1} tokens have no number"
    codes = np.zeros(len(lengths), np.int64)
    for digits in lengths.T.astype(np.int64):
        codes = codes * base + np.where(codes % 2, base - 1 - digits, digits)
    return codes


def decode(codes: np.ndarray, base: int, count: int) -> np.ndarray:
    """The `count` lengths that each number (n,) was made of, (n, S) int64."""
    columns = []
    for _ in range(count):
        codes, digits = np.divmod(codes, base)
        columns.append(np.where(codes % 2, base - 1 - digits, digits))
    return np.stack(columns[::-1], axis=1)
