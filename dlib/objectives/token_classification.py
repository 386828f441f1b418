"""Token classification: the label of each word of a text, such as names, parts of speech or misspelt words.

A word is labelled at its first token (Devlin et al. 2019, "BERT", section 5.3). Words without tokens, and those that
were cut off with the end of a long row, are neither learned nor counted, as in Hugging Face's run_ner.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.data.samples import Columns, Sample
from dlib.data.token_store import TokenStore
from dlib.objectives.labels import LabelPrediction, Labels, guess_scores, label_f1
from dlib.objectives.objective import Batch, Evaluated
from dlib.objectives.padding import stack_rows
from dlib.objectives.pairs import logits_of
from dlib.objectives.spans import are_bio, span_scores
from dlib.process.errors import UserError
from dlib.runs.metrics_log import BestMetric

WORDS, LABELS = "tokens", "labels"
NO_LABEL = -100
"""What transformers, too, puts where no label is."""


class TokenClassification(LabelPrediction):
    """Predict the label of each word."""

    columns = Columns(sequences=(WORDS,), fields=(LABELS,), lists=(WORDS,))
    auto_model = "AutoModelForTokenClassification"
    answerer = "dlib.generation.word_labelling:WordLabeller"
    card: ClassVar[Mapping[str, str]] = {"kind": "labeller of words", "pipeline_tag": "token-classification"}
    labels: Labels

    def study(self, train: TokenStore, dev: TokenStore) -> None:
        """Find the labels.

        Raises:
            UserError: there are no two.
        """
        self.labels = Labels.found(train.distinct(LABELS), LABELS)

    def recall(self, config: Any) -> None:
        """What its labels are."""
        self.labels = Labels.of_config(config)

    @property
    def config_changes(self) -> Mapping[str, Any]:
        """Names of the labels."""
        return self.labels.config_changes

    @property
    def best(self) -> BestMetric:
        """F1 of spans where labels mark some, else the mean of the labels' F1."""
        return BestMetric("dev/span_f1" if are_bio(self.labels.names) else "dev/macro_f1", highest=True)

    def check(self, store: TokenStore, document: int) -> None:
        """Refuse a document that has not a known label for each word."""
        self.numbers(store.field(LABELS, document), len(store.item_lengths(WORDS, document)))

    def numbers(self, value: object, num_words: int) -> np.ndarray:
        """Numbers of a document's labels (words,).

        Raises:
            UserError: they are not one for each word, or one is not known.
        """
        if not isinstance(value, list) or len(value) != num_words:
            count = len(value) if isinstance(value, list) else "no list of"
            raise UserError(f'key "{LABELS}": {count} labels, and "{WORDS}" has {num_words}; give each its label')
        try:
            return np.array([self.labels.number_of(label) for label in value], dtype=np.int64)
        except UserError as error:
            raise UserError(f'key "{LABELS}": {error}') from error

    def targets(self, sample: Sample) -> np.ndarray:
        """The label at each first token of a word, and `NO_LABEL` elsewhere (T,)."""
        lengths = sample.lengths[WORDS]
        places, words = first_tokens(lengths, len(sample.ids))
        targets = np.full(len(sample.ids), NO_LABEL)
        targets[places] = self.numbers(sample.fields[LABELS], len(lengths))[words]
        return targets

    def weight(self, sample: Sample) -> int:
        """Its labelled words."""
        return len(first_tokens(sample.lengths[WORDS], len(sample.ids))[0])

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack the rows; `labels` (B, T)."""
        labels = stack_rows([self.targets(sample) for sample in samples], NO_LABEL)["input_ids"]
        return {**stack_rows([sample.ids for sample in samples], self.roles.pad_id), "labels": labels}

    def predict(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sums of the losses of each row's words in nats (B,), and logits (B, T, L)."""
        logits, labels = logits_of(model, batch), batch["labels"]
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=NO_LABEL, reduction="none")
        return losses.view_as(labels).sum(-1), logits

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The sum of the losses, and of each row the labels and the guesses of its words."""
        losses, logits = self.predict(model, batch)
        rows = zip(batch["labels"].tolist(), logits.argmax(-1).tolist(), strict=True)
        return Evaluated({"loss": float(losses.cpu().double().sum())}, [at_words(*row) for row in rows])

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Mean loss and scores of words, F1 of each label, and the scores of spans where labels mark some.

        Raises:
            UserError: there are no words.
        """
        names = self.labels.names
        labels, guesses = ([number for row in side for number in row] for side in zip(*evaluated.items, strict=True))
        if not labels:
            raise UserError(f'key "{WORDS}": no document of the text has words')
        f1 = label_f1(labels, guesses, len(names))
        scores = guess_scores(labels, guesses, len(names)) | {f"f1_{name}": f1[i] for i, name in enumerate(names)}
        if are_bio(names):
            scores |= span_scores(([[names[i] for i in side] for side in row]) for row in evaluated.items)
        return {**super().metrics(evaluated, tokens_per_byte), **scores}


def first_tokens(lengths: np.ndarray, row_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the words of a row begin (n,), between the special tokens at its ends, and which words these are (n,).

    Args:
        lengths: tokens of each word of the document (words,).
        row_length: tokens of the row, which may have been cut.
    """
    places = 1 + np.cumsum(lengths) - lengths
    words = np.flatnonzero((lengths > 0) & (places < row_length - 1))
    return places[words], words


def at_words(labels: Sequence[int], guesses: Sequence[int]) -> tuple[list[int], list[int]]:
    """Labels and guesses of a row's words, out of those of its tokens (T,)."""
    there = [place for place, label in enumerate(labels) if label != NO_LABEL]
    return [labels[place] for place in there], [guesses[place] for place in there]
