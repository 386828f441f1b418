"""What the data hands over to an objective: samples, and which columns of a document they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SampleKey = tuple[int | str, ...]
"""All that a sample's randomness may depend on: (seed, epoch, sample number) in training, ("evaluation", sample number)
in an evaluation, where two models must see the same masks whatever their seeds."""


@dataclass(frozen=True)
class Columns:
    """What is read of each document: keys of a JSON object; a line of plain text has the sequence `text` alone."""

    sequences: tuple[str, ...] = ("text",)  # names of the texts that are tokenized, at least one
    fields: tuple[str, ...] = ()  # names of the values that are kept as they are: numbers or texts

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.sequences, *self.fields)

    @property
    def is_aligned(self) -> bool:
        """Whether a document keeps its place when it is empty, and cannot share a row with another."""
        return bool(self.fields) or len(self.sequences) > 1


TEXT_ONLY = Columns()


@dataclass(frozen=True)
class Sample:
    """One row, before anything is drawn for it."""

    sequences: tuple[np.ndarray, ...]  # token ids of each sequence, special tokens included, (T,) int64 each
    # values of its document by name; a row that is packed from several documents has none
    fields: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0  # of the row in its source
    key: SampleKey = ()  # what its randomness depends on; empty where nothing is drawn

    @property
    def ids(self) -> np.ndarray:
        """The first sequence, which is the only one of most samples, (T,) int64."""
        return self.sequences[0]

    @property
    def num_tokens(self) -> int:
        """Tokens of all sequences, special ones included."""
        return sum(map(len, self.sequences))
