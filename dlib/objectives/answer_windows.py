"""Questions and their contexts as rows: a context that is longer than a row is read in windows that overlap.

    [CLS] question [SEP] context, tokens 0 to 300 [SEP]
    [CLS] question [SEP] context, tokens 128 to 428 [SEP]

Letters: n tokens of a context in a window.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dlib.data.packing import framed
from dlib.data.samples import Sample, SampleKey
from dlib.data.token_store import TokenStore
from dlib.objectives.pairs import PairFrame, Parts
from dlib.process.errors import UserError


@dataclass(frozen=True)
class Windows:
    """How a question (q,) and its context (c,) are cut; works on arrays of lengths, too."""

    frame: PairFrame  # special tokens around both
    max_length: int  # most tokens of a row, special ones included
    stride: int  # tokens by which the window moves on, if it is twice as wide

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            UserError: there is no room for a question and a context.
        """
        if self.room < 2:
            least = self.max_length - self.room + 2
            raise UserError(f"--max_length {self.max_length} leaves no room for a question; give at least {least}")

    @property
    def room(self) -> int:
        """Tokens of both in a row."""
        return self.max_length - sum(map(len, self.frame))

    def question_length(self, length: np.ndarray | int) -> np.ndarray:
        """Tokens that are kept of a question: at most half of the room."""
        return np.minimum(length, self.room // 2)

    def widths(self, question: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of a context in a window, beside a question of that length, and by how many windows move on.

        At most by half of them: an answer between two windows that touch would be in neither.
        """
        width = self.room - self.question_length(question)
        return width, np.minimum(self.stride, np.maximum(1, width // 2))

    def count(self, question: np.ndarray | int, context: np.ndarray | int) -> np.ndarray:
        """Number of windows, from both lengths."""
        width, step = self.widths(question)
        return 1 + np.maximum(0, -((width - context) // step))

    def cut(self, question: np.ndarray, context: np.ndarray, place: int) -> tuple[Parts, int, int]:
        """Window number `place`: the two parts of the row, and the context's tokens in it, from and up to."""
        width, step = (int(number) for number in self.widths(len(question)))
        start = place * step
        stop = min(start + width, len(context))
        asked = question[: int(self.question_length(len(question)))]
        head = framed(asked, self.max_length, self.frame.start, self.frame.between)
        return (head, framed(context[start:stop], self.max_length, [], self.frame.end)), start, stop


@dataclass(frozen=True)
class QuestionRows:
    """A row a window; the sequences of a document are its question and its context."""

    store: TokenStore
    windows: Windows

    @cached_property
    def _lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of each question, and of each context, (num_documents,) each."""
        questions, contexts = (np.diff(self.store.offsets).reshape(-1, 2) - 1).T
        return questions, contexts

    @cached_property
    def _first_rows(self) -> np.ndarray:
        """Number of the first row of each document, and of all rows, (num_documents + 1,)."""
        return np.concatenate([[0], np.cumsum(self.windows.count(*self._lengths))])

    def __len__(self) -> int:
        """Number of windows."""
        return int(self._first_rows[-1])

    @cached_property
    def num_tokens(self) -> int:
        """Sum of the lengths of all rows, special tokens included."""
        return int(self.lengths(0, len(self)).sum())

    def lengths(self, first: int, last: int) -> np.ndarray:
        """Tokens of the rows `first` to `last`, special ones included, (n, 1) int64."""
        rows = np.arange(first, last)
        documents = np.searchsorted(self._first_rows, rows, side="right") - 1
        questions, contexts = (lengths[documents] for lengths in self._lengths)
        widths, steps = self.windows.widths(questions)
        read = np.minimum(widths, contexts - (rows - self._first_rows[documents]) * steps)
        return (self.windows.max_length - widths + read)[:, None]

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """Row `index` in its two parts, see `stack_pairs`.

        Its fields are those of its document, and `document`, its number. Its offsets are those of the context's tokens
        in the window, (n, 2).
        """
        store = self.store
        document = int(np.searchsorted(self._first_rows, index, side="right")) - 1
        question, context = (store.segment(document, place) for place in range(2))
        parts, start, stop = self.windows.cut(question, context, index - int(self._first_rows[document]))
        fields = {name: store.field(name, document) for name in store.recipe.fields}
        offsets = {"context": store.character_offsets("context", document)[start:stop]}
        return Sample(parts, {**fields, "document": document}, index, key, offsets=offsets)
