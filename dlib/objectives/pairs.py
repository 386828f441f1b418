"""One text or two as a row, joined as their tokenizer joins them.

    BERT      [CLS] first [SEP] | second [SEP]           the second with token types of 1
    RoBERTa   <s> first </s> </s> | second </s>

A row is kept in its two parts, cut at the bar, so that token types need no further record.
Letters: B rows, T tokens a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.data.packing import framed, require_room
from dlib.data.samples import Sample, SampleKey
from dlib.data.token_roles import TokenRoles
from dlib.data.token_store import TokenStore
from dlib.objectives.objective import Batch, widened
from dlib.objectives.padding import stack_rows

Ids = Sequence[int] | np.ndarray
Parts = tuple[np.ndarray, np.ndarray]
"""The two parts of a row, special tokens included; the second is empty where there is one text alone. (T,) in all."""


class PairFrame(NamedTuple):
    """The special tokens around two texts, as ids."""

    start: Sequence[int]
    between: Sequence[int]
    end: Sequence[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, roles: TokenRoles) -> "PairFrame":
        """Found by looking at a pair; a tokenizer that marks none gets a separator after each text."""
        if tokenizer.num_special_tokens_to_add(pair=True) == 0:
            return cls([roles.lead_id], [roles.separator_id], [roles.separator_id])
        first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b"))
        ids = list(tokenizer("a", "b")["input_ids"])
        start = find(first, ids, 0)
        after = start + len(first)
        place = find(second, ids, after)
        return cls(ids[:start], ids[after:place], ids[place + len(second) :])


def find(part: Sequence[int], ids: Sequence[int], start: int) -> int:
    """The first place from `start` on at which a part stands in a row."""
    return next(place for place in range(start, len(ids)) if ids[place : place + len(part)] == part)


@dataclass(frozen=True)
class Joiner:
    """Makes rows of at most `max_length` tokens."""

    frame: PairFrame  # around two texts
    roles: TokenRoles  # of the special tokens around one
    max_length: int  # special tokens included

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            UserError: it has no room for text.
        """
        require_room(self.max_length, self.num_special)

    @property
    def num_special(self) -> int:
        """Special tokens around two texts."""
        return sum(map(len, self.frame))

    def join(self, first: Ids, second: Ids) -> Parts:
        """The row of two texts (n,) and (m,), the longer one cut first; of the first alone where the second is empty.

        Both are cut to halves where both are longer (`longest_first` of transformers).
        """
        if len(second) == 0:
            alone = framed(first, self.max_length, [self.roles.lead_id], [self.roles.separator_id])
            return alone, np.empty(0, dtype=np.int64)
        room = self.max_length - self.num_special
        shorter = min(len(first), len(second), room // 2)
        longer = room - shorter
        most = (shorter, longer) if len(first) <= len(second) else (longer, shorter)
        head = framed(first[: most[0]], self.max_length, self.frame.start, self.frame.between)
        return head, framed(second[: most[1]], self.max_length, [], self.frame.end)

    def cuts(self, first: Ids, second: Ids) -> bool:
        """Whether the row of two texts has not all of them."""
        return len(first) + len(second) > self.max_length - (self.num_special if len(second) else 2)


@dataclass(frozen=True)
class JoinedRows:
    """A sample a document, whose texts are joined."""

    store: TokenStore  # the text
    joiner: Joiner

    def __len__(self) -> int:
        """Number of documents."""
        return self.store.num_documents


class PairRows(JoinedRows):
    """One row a document of two sequences, the second of which may be empty; `Sample.sequences` are its parts."""

    @cached_property
    def num_tokens(self) -> int:
        """Sum of the lengths of all rows, special tokens included."""
        return int(self.lengths(0, len(self)).sum())

    def lengths(self, first: int, last: int) -> np.ndarray:
        """Tokens of the rows `first` to `last`, special ones included (n, 1)."""
        lengths = np.diff(self.store.offsets[2 * first : 2 * last + 1]).reshape(-1, 2) - 1
        special = np.where(lengths[:, 1:] > 0, self.joiner.num_special, 2)
        return np.minimum(lengths.sum(1, keepdims=True) + special, self.joiner.max_length)

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """Row `index` in its two parts, and the fields of its document."""
        parts = self.joiner.join(*(self.store.segment(index, place) for place in range(2)))
        fields = {name: self.store.field(name, index) for name in self.store.recipe.fields}
        return Sample(parts, fields, index, key)


def stack_pairs(pairs: Sequence[Parts], pad_id: int) -> Batch:
    """Rows as one tensor, see `stack_rows`; with `token_type_ids` (B, T) int64 where one has a second text."""
    batch = stack_rows([np.concatenate(parts) for parts in pairs], pad_id)
    starts, ends = (torch.tensor(ends)[:, None] for ends in zip(*map(part_ends, pairs), strict=True))
    if bool((starts < ends).any()):
        places = torch.arange(batch["input_ids"].shape[1])
        batch["token_type_ids"] = ((places >= starts) & (places < ends)).long()
    return batch


def part_ends(parts: Parts) -> tuple[int, int]:
    """Where the two parts of a row end."""
    return len(parts[0]), len(parts[0]) + len(parts[1])


def logits_of(model: PreTrainedModel, batch: Batch) -> Tensor:
    """What a model says of a batch's rows, in float32 at least; token types are for models that tell them apart."""
    names = ["input_ids", "attention_mask"]
    if (getattr(model.config, "type_vocab_size", None) or 0) > 1:
        names.append("token_type_ids")
    logits: Tensor = model(**{name: batch[name] for name in names if name in batch}).logits
    return widened(logits)
