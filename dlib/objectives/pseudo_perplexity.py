"""Pseudo-perplexity of documents by a masked language model: each token is masked in turn, and predicted from the rest.

Salazar et al. 2020, "Masked Language Model Scoring", equations 1 and 3: the exponential of the mean loss over all
tokens of the text; special tokens are seen but not scored. A document that is longer than a row is scored in pieces.
"""

from functools import cached_property

import numpy as np

from dlib.data.samples import Sample, SampleKey
from dlib.data.token_roles import TokenRoles
from dlib.data.token_store import TokenStore


class MaskedInTurn:
    """A row for each token of a text: its document, or the piece of it that fits into `max_length`, as it is."""

    def __init__(self, store: TokenStore, max_length: int, roles: TokenRoles, max_documents: int | None) -> None:
        """Take the first `max_documents`; None: all."""
        self.store = store
        self.room = max_length - 2
        self.roles = roles
        self.max_documents = store.num_documents if max_documents is None else max_documents

    @cached_property
    def _first_rows(self) -> np.ndarray:
        """Number of the first row of each document, and of all rows; separators have none."""
        lengths = np.diff(self.store.offsets[: self.max_documents + 1]) - 1
        return np.concatenate([[0], np.cumsum(lengths)])

    def __len__(self) -> int:
        """Number of tokens that are scored."""
        return int(self._first_rows[-1])

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """The lead token, the piece that token `index` stands in, and the separator, (T,) int64.

        The field `target` is the place of token `index` in that row.
        """
        document, place = self._place(index)
        start, stop = (int(offset) for offset in self.store.offsets[document : document + 2])
        start += place // self.room * self.room
        piece = self.store.tokens[start : min(start + self.room, stop - 1)]
        ids = np.concatenate([[self.roles.lead_id], piece, [self.roles.separator_id]]).astype(np.int64)
        return Sample((ids,), {"target": 1 + place % self.room}, index, key)

    def _place(self, index: int) -> tuple[int, int]:
        """The document of a token, and the token's place in it."""
        document = int(np.searchsorted(self._first_rows, index, side="right")) - 1
        return document, index - int(self._first_rows[document])
