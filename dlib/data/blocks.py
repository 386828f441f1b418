"""Rows of like length of several texts with weights: blocks of samples in which each text has exactly its share.

    step --buckets.py--> block, places --whose, and which draw of the text's--> text, its epoch, a place in its order
    a row of that place: a permutation, of that epoch, of the text's rows that have the same lengths

A block is to a mixture what an epoch is to one text: it has places for as many samples of each text as the weights say,
and its batches, ranges of places, are cut once for all blocks. So a place must have rows of about one length in every
block. Of a text of N rows with n places a block, place k has rows k * N / n to (k + 1) * N / n in the order of lengths.
Block b takes those rows x for which a multiple of N is in [(x + b) * n, (x + b + 1) * n): n of them, spread evenly, and
in the next block it is their neighbours' turn. A row comes every N / n blocks, and how often it has come before is a
quotient. So no state is needed, and a text has each of its rows once in each of its epochs.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from dlib.data.lengths import LengthOrder, order_by_length, sort_by_length
from dlib.data.mixture import MixedRows
from dlib.process.seeding import derive_key

LONGEST_BLOCK = 1 << 20
"""Samples of a block, at which a place of a large text is a millionth of it: a longer block has no less padding."""


@dataclass(frozen=True, eq=False)
class BlockOrder(LengthOrder):
    """The places of a block in the order of the longest rows that they can have, one text's after the other's."""

    texts: tuple[LengthOrder, ...]  # rows of each text
    counts: tuple[int, ...]  # places of each text

    @property
    def num_rows(self) -> int:
        """Rows of all texts."""
        return sum(map(len, self.texts))

    @property
    def num_tokens(self) -> int:
        """Tokens of a block, on average over all blocks."""
        parts = zip(self.texts, self.counts, strict=True)
        return round(sum(count * text.num_tokens / len(text) for text, count in parts))

    @property
    def most_tokens(self) -> int:
        """Of one row, which may be fewer than a place of several lengths has room for."""
        return max(text.most_tokens for text in self.texts)

    def samples(self, first: int, last: int, epoch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Epochs (of its text) and numbers of the samples at places `first` to `last` of block `epoch`."""
        _, places = super().samples(first, last, epoch, seed)
        epochs, numbers = np.empty((2, len(places)), np.int64)
        first_place = first_row = 0
        for text, (order, count) in enumerate(zip(self.texts, self.counts, strict=True)):
            chosen = (first_place <= places) & (places < first_place + count)
            own_epochs, positions = draws(places[chosen] - first_place, epoch, len(order), count)
            epochs[chosen] = own_epochs
            # Epochs that a block has several of share an order: the block's own order of places shuffles them already.
            orders = own_epochs // -(-count // len(order))
            numbers[chosen] = first_row + _rows(order, positions, orders, seed, text)
            first_place, first_row = first_place + count, first_row + len(order)
        return epochs, numbers


def draws(places: np.ndarray, block: int, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The draws of a text at some of its places in a block.

    Args:
        places: of the text's own places in a block, in range(count), (B,) int64.
        block: number of the block.
        size: rows of the text.
        count: places of the text in each block.

    Returns:
        Its epochs, and places in its order of lengths: two (B,) int64. Over all blocks each pair comes once.
    """
    started, rest = divmod(-block * count, size)
    positions = (places * size + rest) // count
    return places - started - -(-positions * count // size), positions


def _rows(order: LengthOrder, positions: np.ndarray, epochs: np.ndarray, seed: int, text: int) -> np.ndarray:
    """Numbers of a text's rows at positions (B,) of its order, those of one length shuffled by epoch, (B,) each."""
    numbers = np.empty_like(positions)
    for epoch in np.unique(epochs).tolist():
        own = epochs == epoch
        numbers[own] = order.rows(
            positions[own], partial(derive_key, "order of like rows of a text", seed, text, epoch)
        )
    return numbers


def order_blocks(rows: MixedRows) -> BlockOrder:
    """Sort the rows of each text, and the places of a block of about as many samples as there are rows."""
    texts, cycle = tuple(map(order_by_length, rows.parts)), sum(rows.weights)
    cycles = max(1, min(len(rows), LONGEST_BLOCK) // cycle)
    counts = tuple(weight * cycles for weight in rows.weights)
    places = sort_by_length(np.concatenate([*map(_longest_at_places, texts, counts)]))
    return BlockOrder(places.numbers, places.lengths, places.starts, texts, counts)


def _longest_at_places(order: LengthOrder, count: int) -> np.ndarray:
    """The largest lengths that each of a text's places has in any block, (count, S) int64."""
    edges, size = np.arange(count + 1), len(order)
    return order.longest(edges[:-1] * size // count, -(-edges[1:] * size // count))
