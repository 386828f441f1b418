"""What the data hands over to an objective: samples, and which columns of a document they are made of."""

from collections.abc import Iterable, Mapping
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
    fields: tuple[str, ...] = ()  # names of the values that are kept as they are, whatever JSON can say
    optional: tuple[str, ...] = ()  # those that a document may lack: an empty sequence, or the value None
    lists: tuple[str, ...] = ()  # sequences that are lists of texts, such as words: `Sample.lengths`
    offsets: tuple[str, ...] = ()  # sequences of which is kept where in the text a token stands: `Sample.offsets`
    # what a name is in the texts, where it is another; what is read is the same whatever it is called there
    keys: Mapping[str, str] = field(default_factory=dict, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ValueError: a list, or a sequence with offsets, is no sequence, or it is both.
        """
        if {*self.lists, *self.offsets} - {*self.sequences} or {*self.lists} & {*self.offsets}:
            raise ValueError(f"{self}: lists and offsets are of different sequences")

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once; a name of both kinds is tokenized and kept."""
        return tuple(dict.fromkeys((*self.sequences, *self.fields)))

    def keys_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """What names are in the texts."""
        return tuple(self.keys.get(name, name) for name in names)

    @property
    def of_text(self) -> "Columns":
        """The sequences alone."""
        optional = tuple(name for name in self.optional if name in self.sequences)
        return Columns(self.sequences, optional=optional, lists=self.lists, keys=self.keys)

    @property
    def is_aligned(self) -> bool:
        """Whether a document keeps its place when it is empty, and cannot share a row with another."""
        return bool(self.fields or self.lists or self.offsets) or len(self.sequences) > 1


TEXT_ONLY = Columns()


@dataclass(frozen=True)
class Sample:
    """One row, before anything is drawn for it."""

    sequences: tuple[np.ndarray, ...]  # token ids of each sequence, special tokens included, (T,) int64 each
    # values of its document by name; a row that is packed from several documents has none
    fields: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0  # of the row in its source
    key: SampleKey = ()  # what its randomness depends on; empty where nothing is drawn
    # tokens of each item of a list, by the list's name, (items,) int64; before special tokens and truncation
    lengths: Mapping[str, np.ndarray] = field(default_factory=dict)
    # first character of each token and the one after its last, by the text's name, (T, 2) int64; likewise
    offsets: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_whole: bool = False  # whether it is one document, from its beginning to its end

    # places where the further documents of a packed row begin, (n,) int64; None where they are not kept apart
    document_starts: np.ndarray | None = None

    @property
    def ids(self) -> np.ndarray:
        """The first sequence, which is the only one of most samples, (T,) int64."""
        return self.sequences[0]

    @property
    def num_tokens(self) -> int:
        """Tokens of all sequences, special ones included."""
        return sum(map(len, self.sequences))
