"""Perplexity of whole documents by a causal language model, which reads them through a sliding window.

Cut into rows, the tokens at a row's start have little before them, and the others may have another document there. Here
windows of `max_length` tokens move on by `stride`, and each scores only the tokens that the one before did not
reach: every token is scored once, with at least `max_length - stride` tokens before it, or all that there are.
"""

from functools import cached_property

import numpy as np

from dlib.data.samples import Sample, SampleKey
from dlib.data.token_store import TokenStore


class SlidingWindows:
    """Windows over each document of a text, numbered through.

    A document is the lead token, its own tokens, and its separator, which is a token to be predicted too: the number of
    targets in all windows is the number of tokens in the store.
    """

    def __init__(self, store: TokenStore, max_length: int, stride: int, lead_id: int) -> None:
        """Move windows of `max_length` tokens by `stride`, less than their length."""
        self.store = store
        self.max_length = max_length
        self.stride = stride
        self.lead_id = lead_id

    @cached_property
    def _first_windows(self) -> np.ndarray:
        """Number of the first window of each document, and of all windows, (num_documents + 1,)."""
        lengths = np.diff(self.store.offsets) + 1
        further = np.maximum(0, -(-(lengths - self.max_length) // self.stride))
        return np.concatenate([[0], np.cumsum(1 + further)])

    def __len__(self) -> int:
        """Number of windows."""
        return int(self._first_windows[-1])

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """The tokens of window `index`, (T,) int64.

        The field `first_target` is the place in the window of the first token that no window before it scored.
        """
        start, document = self._place(index)
        first, stop = (int(offset) for offset in self.store.offsets[document : document + 2])
        lead = [self.lead_id] if start == 0 else []
        tokens = self.store.tokens[first + max(0, start - 1) : min(stop, first + start - 1 + self.max_length)]
        ids = np.concatenate([lead, tokens]).astype(np.int64)
        return Sample((ids,), {"first_target": 1 if start == 0 else self.max_length - self.stride}, index, key)

    def _place(self, index: int) -> tuple[int, int]:
        """Where a window starts within its document, and the document's number."""
        document = int(np.searchsorted(self._first_windows, index, side="right")) - 1
        return (index - int(self._first_windows[document])) * self.stride, document
