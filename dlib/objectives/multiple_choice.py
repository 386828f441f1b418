"""Multiple choice: which of several answers to a question is right.

The question is joined with each choice, the model scores each such row, and the scores of a question's choices are made
probabilities together (Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", 3.3).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.data.packing import RowSource
from dlib.data.samples import Columns, Sample, SampleKey
from dlib.data.token_store import TokenStore
from dlib.objectives.labels import LabelPrediction
from dlib.objectives.objective import Batch, Evaluated
from dlib.objectives.pairs import Ids, JoinedRows, Joiner, PairFrame, Parts, logits_of, stack_pairs
from dlib.process.errors import UserError

QUESTION, CHOICES, LABEL = "question", "choices", "label"


class ChoiceRows(JoinedRows):
    """A document a sample: its `sequences` are the two parts of the row of each choice, one after another."""

    @cached_property
    def num_tokens(self) -> int:
        """Sum of the lengths of all rows, special tokens included."""
        return sum(self.sample(index).num_tokens for index in range(len(self)))

    def lengths(self, first: int, last: int) -> np.ndarray:
        """Tokens of the documents `first` to `last` with all choices as long as the longest, (n, 1) int64."""
        return np.array([[padded_tokens(self.sample(index).sequences)] for index in range(first, last)])

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """The rows of document `index`, and its label."""
        lengths = self.store.item_lengths(CHOICES, index)
        choices = np.split(self.store.segment(index, 1), np.cumsum(lengths)[:-1]) if len(lengths) else []
        parts = choice_parts(self.joiner, self.store.segment(index), choices)
        return Sample(parts, {LABEL: self.store.field(LABEL, index)}, index, key)


class MultipleChoice(LabelPrediction):
    """Choose one of the choices of a question, of which there may be any number."""

    columns = Columns(sequences=(QUESTION, CHOICES), fields=(LABEL,), lists=(CHOICES,))
    best_by, best_is_highest = "accuracy", True
    auto_model = "AutoModelForMultipleChoice"
    answerer = "dlib.generation.choosing:Chooser"
    card: ClassVar[Mapping[str, str]] = {"kind": "model that chooses answers"}

    def check(self, store: TokenStore, document: int) -> None:
        """Refuse a label that is none."""
        target(store.field(LABEL, document), len(store.item_lengths(CHOICES, document)))

    @property
    def config_changes(self) -> Mapping[str, Any]:
        """The padding, which models that look back search the last token by."""
        return {"pad_token_id": self.roles.pad_id}

    def rows(self, store: TokenStore, max_length: int) -> RowSource:
        """A question with each of its choices."""
        return ChoiceRows(store, Joiner(PairFrame.of(self.tokenizer, self.roles), self.roles, max_length))

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack rows (B, C, T), see `stack_choices`; `labels` (B,)."""
        batch = stack_choices(samples, self.roles.pad_id)
        labels = [target(sample.fields[LABEL], len(sample.sequences) // 2) for sample in samples]
        return {**batch, "labels": torch.tensor(labels)}

    def predict(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses of rows in nats (B,), and the scores of choices (B, C)."""
        scores = choice_scores(model, batch)
        return F.cross_entropy(scores, batch["labels"], reduction="none"), scores

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The sum of the losses, and how many questions are answered right."""
        losses, scores = self.predict(model, batch)
        right = scores.argmax(-1) == batch["labels"]
        return Evaluated({"loss": float(losses.cpu().double().sum()), "right": float(right.sum())})

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Mean loss, and share of the questions that are answered right."""
        sums = evaluated.sums
        return {**super().metrics(evaluated, tokens_per_byte), "accuracy": sums["right"] / (sums["weight"] or 1)}


def target(value: Any, num_choices: int) -> int:
    """A label as the number of a choice.

    Raises:
        UserError: there is no such choice.
    """
    if type(value) in (int, float) and value in range(num_choices):  # 1.0 is what other programs write for 1
        return int(value)
    raise UserError(f'key "{LABEL}": {value} is no number of its {num_choices} choices; the first is 0')


def choice_parts(joiner: Joiner, question: Ids, choices: Sequence[Ids]) -> tuple[np.ndarray, ...]:
    """The two parts of each choice's row, one after another."""
    return tuple(chain.from_iterable(joiner.join(question, choice) for choice in choices))


def padded_tokens(parts: Sequence[np.ndarray]) -> int:
    """Tokens of the rows of a document's choices, which are two parts each, all as long as the longest."""
    lengths = [len(head) + len(tail) for head, tail in zip(parts[::2], parts[1::2], strict=True)]
    return len(lengths) * max(lengths, default=1)


def stack_choices(samples: Sequence[Sample], pad_id: int) -> Batch:
    """Rows of choices as tensors (B, C, T).

    Where a question has fewer choices than another, its first stands in for those that are missing: a row of padding
    alone has nothing to attend to. `is_choice` (B, C) tells them apart.
    """
    rows: list[list[Parts]] = [[*zip(s.sequences[::2], s.sequences[1::2], strict=True)] for s in samples]
    most = max(map(len, rows))
    filled = [choices + choices[:1] * (most - len(choices)) for choices in rows]
    batch = stack_pairs([*chain.from_iterable(filled)], pad_id)
    batch = {name: tensor.unflatten(0, (len(rows), most)) for name, tensor in batch.items()}
    return {**batch, "is_choice": torch.arange(most) < torch.tensor([*map(len, rows)])[:, None]}


def choice_scores(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Scores (B, C) of choices, of which those that are missing have -inf."""
    return logits_of(model, batch).masked_fill(~batch["is_choice"], float("-inf"))
