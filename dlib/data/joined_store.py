"""Several token stores as one, for an objective that studies its texts: which labels are there, how long they are.

Beside it the view of a store that ends early, by the limits of a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from typing import Any

import numpy as np

from dlib.config.corpora import Corpus
from dlib.data.records import Value, order_of
from dlib.data.token_store import TokenStore


def limited(store: TokenStore, corpus: Corpus) -> TokenStore:
    """The store of a text without the documents beyond its limits; at least one document stays.

    It is the same folder: nothing is tokenized anew for another limit. Its `num_bytes` is in proportion.
    """
    if not corpus.limits:
        return store
    count = min(store.num_documents, corpus.limit or store.num_documents)
    ends = store.offsets[store.num_sequences :: store.num_sequences]
    if corpus.limit_tokens is not None:
        count = min(count, max(1, int(np.searchsorted(ends, corpus.limit_tokens, side="right"))))
    num_tokens = int(ends[count - 1])
    num_bytes = round(store.num_bytes * num_tokens / store.num_tokens)
    return replace(store, num_documents=count, num_tokens=num_tokens, num_bytes=num_bytes, limits=corpus.limits)


@dataclass(frozen=True)
class JoinedStore(TokenStore):
    """The documents of several stores, one store after the other. Its tokens do not lie in one piece."""

    parts: tuple[TokenStore, ...] = ()

    def segment(self, document: int, sequence: int = 0) -> np.ndarray:
        """The ids of a sequence of a document, without its separator, (n,)."""
        part, number = self._place(document)
        return part.segment(number, sequence)

    def field(self, name: str, document: int) -> Any:
        """The value of a document's field."""
        part, number = self._place(document)
        return part.field(name, number)

    def item_lengths(self, name: str, document: int) -> np.ndarray:
        """Tokens of each item of a document's list, (items,) int64."""
        part, number = self._place(document)
        return part.item_lengths(name, number)

    def character_offsets(self, name: str, document: int) -> np.ndarray:
        """First character of each token of `segment`, and the one after its last, (n, 2) int64."""
        part, number = self._place(document)
        return part.character_offsets(name, number)

    def distinct(self, name: str) -> Sequence[Value]:
        """All different values of a field in ascending order.

        Raises:
            UserError: a text has too many.
        """
        return sorted({value for part in self.parts for value in part.distinct(name)}, key=order_of)

    @cached_property
    def tokens(self) -> np.ndarray:
        """Refused: they are in several files."""
        raise TypeError("the tokens of several texts are in several files: ask for each document's segment")

    @cached_property
    def offsets(self) -> np.ndarray:
        """Refused, likewise."""
        raise TypeError("the tokens of several texts are in several files: ask for each document's segment")

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([0, *accumulate(part.num_documents for part in self.parts)])

    def _place(self, document: int) -> tuple[TokenStore, int]:
        number = int(np.searchsorted(self._starts, document, side="right")) - 1
        return self.parts[number], document - int(self._starts[number])


def joined(stores: Sequence[TokenStore]) -> TokenStore:
    """Several stores as one, or the only one; its text's hash covers all of theirs."""
    first = stores[0]
    if len(stores) == 1:
        return first
    hashes = " ".join(store.recipe.documents_sha256 for store in stores)
    known = {field.name: getattr(first, field.name) for field in fields(TokenStore)}
    known["recipe"] = replace(first.recipe, text_sha256=sha256(hashes.encode()).hexdigest(), kept="")
    known["limits"] = ""  # each part has its own
    for name in ("num_documents", "num_tokens", "num_bytes", "num_excluded"):
        known[name] = sum(getattr(store, name) for store in stores)
    return JoinedStore(**known, parts=tuple(stores))


def parts_of(store: TokenStore) -> Sequence[TokenStore]:
    """The stores that one was joined of."""
    return store.parts if isinstance(store, JoinedStore) else (store,)
