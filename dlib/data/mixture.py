"""Several texts as one: whose turn each sample is, by their weights, and their rows under one numbering.

    samples 0, 1, 2, ... --turns--> text, its sample k --epochs--> epoch, row of the text

It is a pure function of a sample's number in constant time, as with one text. Without weights nothing of it is needed:
the rows of all texts are shuffled together, and an epoch has each of them once.
"""

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from dlib.data.permutation import permute
from dlib.data.samples import Sample, SampleKey
from dlib.process.seeding import derive_key

if TYPE_CHECKING:
    from dlib.data.packing import RowSource


def shuffled(numbers: np.ndarray, size: int, *key: int) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and rows of the samples `numbers` of a text that is read again and again, each time in another order.

    Args:
        numbers: of the text's own samples, from 0 on, (B,) int64.
        size: rows of the text.
        key: names the orders of all epochs.

    Returns:
        Two (B,) int64.
    """
    epochs, positions = np.divmod(numbers, size)
    rows = np.empty_like(positions)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        rows[chosen] = permute(positions[chosen], size, derive_key("order", *key, int(epoch)))
    return epochs, rows


@cache
def turns_of_a_cycle(weights: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Whose turn it is in a cycle, as often as the whole `weights` say, and which of its own it is: (sum,) int64 each.

    After any number of turns each text has had its share to within one sample. The k-th sample of a text is due in a
    window of turns, [k / share, (k + 1) / share), widened to whole turns; of those that may come the one comes that is
    due first. This keeps all windows: Baruah, Cohen, Plaxton and Varvel 1996, "Proportionate Progress".
    """
    cycle, taken = sum(weights), [0] * len(weights)
    turns, ranks = np.empty((2, cycle), dtype=np.int64)
    for turn in range(cycle):
        may_come = [text for text, weight in enumerate(weights) if taken[text] * cycle < (turn + 1) * weight]
        first = min(may_come, key=lambda text: -(-(taken[text] + 1) * cycle // weights[text]))
        turns[turn], ranks[turn] = first, taken[first]
        taken[first] += 1
    return turns, ranks


@dataclass(frozen=True)
class Mixture:
    """Which rows of several texts, one after the other under one numbering, are samples by weights.

    Each text has epochs of its own, and an order for each of them.
    """

    sizes: tuple[int, ...]  # rows of each text
    weights: tuple[int, ...]  # samples of each text in a cycle

    def samples(self, numbers: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Epochs (of its text) and rows of the samples `numbers` (B,): two (B,) int64."""
        turns, ranks = turns_of_a_cycle(self.weights)
        cycles, places = np.divmod(numbers, len(turns))
        epochs, rows, start = np.empty_like(numbers), np.empty_like(numbers), 0
        for text, (size, weight) in enumerate(zip(self.sizes, self.weights, strict=True)):
            chosen = turns[places] == text
            own_numbers = cycles[chosen] * weight + ranks[places[chosen]]
            epochs[chosen], found = shuffled(own_numbers, size, seed, text)
            rows[chosen] = found + start
            start += size
        return epochs, rows


@dataclass(frozen=True)
class MixedRows:
    """The rows of several texts, one text after the other."""

    names: tuple[str, ...]  # of the texts
    parts: tuple["RowSource", ...]  # their rows
    weights: tuple[int, ...] = ()  # samples of each text in a cycle; none: all rows alike

    def __len__(self) -> int:
        """Number of rows."""
        return self._starts[-1]

    @property
    def num_tokens(self) -> int:
        """Sum of the lengths of all rows, special tokens included."""
        return sum(part.num_tokens for part in self.parts)

    @property
    def tokens_per_sample(self) -> Fraction:
        """Tokens of a sample, on average over the turns."""
        means = (Fraction(part.num_tokens, len(part)) for part in self.parts)
        return sum((share * mean for share, mean in zip(self.shares, means, strict=True)), Fraction())

    @property
    def shares(self) -> list[Fraction]:
        """What each text has of the samples."""
        weights = self.weights or [len(part) for part in self.parts]
        return [Fraction(weight, sum(weights)) for weight in weights]

    @property
    def mixture(self) -> Mixture | None:
        """Which rows come when; None where they are shuffled together."""
        return Mixture(tuple(map(len, self.parts)), self.weights) if self.weights else None

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """Row `index`, whose number is that in its text.

        Raises:
            IndexError: there is no such row.
        """
        text = self.text_of(index)
        return self.parts[text].sample(index - self._starts[text], key)

    def text_of(self, index: int) -> int:
        """The place among the texts of that which has row `index`."""
        return bisect.bisect_right(self._starts, index, hi=len(self.parts)) - 1

    @cached_property
    def _starts(self) -> Sequence[int]:
        return [0, *itertools.accumulate(map(len, self.parts))]
