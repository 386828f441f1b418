"""The words of lines labelled, as in training.

Letters: B rows, T tokens a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dlib.data.packing import framed
from dlib.data.samples import Sample
from dlib.generation.line_batches import encode_items
from dlib.objectives.answering import RowAnswerer
from dlib.objectives.labels import Labels
from dlib.objectives.padding import stack_rows
from dlib.objectives.pairs import logits_of
from dlib.objectives.token_classification import NO_LABEL, WORDS, first_tokens

NO_NAME = "_"
"""Stands for the label of a word that has no tokens."""


@dataclass(frozen=True)
class LabelledWord:
    """A word, its label, and the probability of that."""

    word: str
    label: str
    probability: float


@dataclass(frozen=True)
class LabelledWords:
    """A line and the labels of its words, which are what spaces separate."""

    line: str
    text: str
    words: Sequence[LabelledWord]


class WordLabeller(RowAnswerer):
    """Says the label of each word of a line; of a line that is longer than a row, it reads some words at a time."""

    options = ("scores",)

    def answer(self, lines: Sequence[str], first_number: int) -> list[LabelledWords]:
        """Answer lines; their numbers mean nothing here."""
        pieces = [(number, piece) for number, line in enumerate(lines) for piece in self.pieces(line.split())]
        labelled: list[list[LabelledWord]] = [[] for _ in lines]
        found = super().answer([piece for _, piece in pieces], first_number)
        for (number, _), words in zip(pieces, found, strict=True):
            labelled[number] += words
        return [
            LabelledWords(line, " ".join(map(self.shown, its)), its) for line, its in zip(lines, labelled, strict=True)
        ]

    def pieces(self, words: Sequence[str]) -> Iterator[str]:
        """The words in pieces whose tokens the model reads at once."""
        piece: list[str] = []
        used, room = 0, self.context - 2
        for word, ids in zip(words, encode_items(self.tokenizer, words), strict=True):
            if piece and used + len(ids) > room:
                yield " ".join(piece)
                piece, used = [], 0
            piece.append(word)
            used += len(ids)
        yield " ".join(piece)

    def read(self, lines: Sequence[str]) -> Sequence[Sample]:
        """The words of each line, tokenized as in training."""
        return [self.row(encode_items(self.tokenizer, line.split())) for line in lines]

    def row(self, words: Sequence[Sequence[int]]) -> Sample:
        """The row of some words' tokens."""
        ids = [token for word in words for token in word]
        row = framed(ids, self.context, [self.roles.lead_id], [self.roles.separator_id])
        return Sample((row,), lengths={WORDS: np.array([*map(len, words)], dtype=np.int64)})

    def stack(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Rows, and in `words` (B, T) the number of the word that begins at a token."""
        numbers = stack_rows([word_numbers(sample) for sample in samples], NO_LABEL)["input_ids"]
        return {**super().stack(samples), "words": numbers}

    def answer_batch(self, lines: Sequence[str], inputs: Mapping[str, Tensor]) -> Sequence[list[LabelledWord]]:
        """The likeliest label of each word."""
        shares, labels = logits_of(self.model, dict(inputs)).softmax(-1).max(-1)
        rows = zip(inputs["words"].tolist(), labels.tolist(), shares.tolist(), strict=True)
        names, answers = Labels.of_config(self.model.config).names, []
        for line, row in zip(lines, rows, strict=True):
            found = {number: (names[label], share) for number, label, share in zip(*row, strict=True)}
            words = enumerate(line.split())
            answers.append([LabelledWord(word, *found.get(number, (NO_NAME, 1.0))) for number, word in words])
        return answers

    def shown(self, word: LabelledWord) -> str:
        """A word's label, as plain text."""
        return f"{word.label}:{word.probability:.4f}" if self.args.scores else word.label


def word_numbers(sample: Sample) -> np.ndarray:
    """The number of the word that begins at each token, and `NO_LABEL` where none does (T,)."""
    places, words = first_tokens(sample.lengths[WORDS], len(sample.ids))
    numbers = np.full(len(sample.ids), NO_LABEL)
    numbers[places] = words
    return numbers
