"""Sequence classification: the label, the labels or the number of a text, or of a pair of texts."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.data.fields import FRACTIONS
from dlib.data.packing import RowSource
from dlib.data.samples import Columns, Sample
from dlib.data.token_store import TokenStore
from dlib.objectives.labels import LabelPrediction, Labels, as_numbers, guess_scores
from dlib.objectives.objective import Batch, Evaluated
from dlib.objectives.pairs import Joiner, PairFrame, PairRows, logits_of, stack_pairs
from dlib.process.errors import UserError
from dlib.runs.metrics_log import BestMetric

LABEL = "label"
LIKELY = 0.5
"""Of several labels those are guessed that are more probable than this."""


class Problem(NamedTuple):
    """What differs with the kind of label. B rows, L labels."""

    problem_type: str  # transformers' word, kept in config.json
    best_by: str  # the metric that says which checkpoint is the best
    losses: Callable[[Tensor, Tensor], Tensor]  # logits (B, L) and targets -> the loss of each row (B,)
    guesses: Callable[[Tensor], Tensor]  # logits (B, L) -> what is compared with the targets
    scores: Callable[[Sequence[Any], Sequence[Any], int], dict[str, float]]  # targets, guesses, L -> metrics


def single_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats (B,) of targets (B,) int64."""
    return F.cross_entropy(logits, targets, reduction="none")


def multi_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy in nats (B,), a mean over labels; targets are 0 or 1 (B, L)."""
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").mean(-1)


def regression_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error (B,) of targets (B,)."""
    return F.mse_loss(logits[:, 0], targets.to(logits.dtype), reduction="none")


def multi_scores(targets: Sequence[Any], guesses: Sequence[Any], num_labels: int) -> dict[str, float]:
    """Accuracy over all labels of all rows, micro and macro F1, and the share of rows all of whose labels are right."""
    from torchmetrics.functional import classification

    pair = torch.tensor(guesses).int(), torch.tensor(targets).int()
    found = {
        "accuracy": classification.multilabel_accuracy(*pair, num_labels, average="micro"),
        "micro_f1": classification.multilabel_f1_score(*pair, num_labels, average="micro"),
        "macro_f1": classification.multilabel_f1_score(*pair, num_labels, average="macro"),
        "exact_match": (pair[0] == pair[1]).all(-1).double().mean(),
    }
    return as_numbers(found)


def regression_scores(targets: Sequence[Any], guesses: Sequence[Any], num_labels: int) -> dict[str, float]:
    """Correlation of numbers (Pearson) and of their ranks (Spearman); 0 where all are the same, or there is but one."""
    from torchmetrics.functional.regression import pearson_corrcoef

    pair = torch.tensor(guesses, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64)
    if any(len(values.unique()) < 2 for values in pair):
        return {"pearson": 0.0, "spearman": 0.0}
    return as_numbers({"pearson": pearson_corrcoef(*pair), "spearman": pearson_corrcoef(*map(ranks, pair))})


def ranks(values: Tensor) -> Tensor:
    """The ranks of numbers (n,); equal ones share the mean of theirs."""
    _, places, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2).to(values.dtype)[places]


SINGLE = Problem(
    "single_label_classification", "accuracy", single_losses, lambda logits: logits.argmax(-1), guess_scores
)
MULTI = Problem(
    "multi_label_classification",
    "micro_f1",
    multi_losses,
    lambda logits: (logits.sigmoid() > LIKELY).int(),
    multi_scores,
)
REGRESSION = Problem("regression", "spearman", regression_losses, lambda logits: logits[:, 0], regression_scores)
PROBLEMS = {"single": SINGLE, "multi": MULTI, "regression": REGRESSION}
"""By the word of `--label_type`."""


def problem_of(config: Any) -> Problem:
    """What a trained model was trained on; one from elsewhere need not say it."""
    by_type = {problem.problem_type: problem for problem in PROBLEMS.values()}
    return by_type.get(config.problem_type) or (REGRESSION if config.num_labels == 1 else SINGLE)


def find_problem(train: TokenStore) -> Problem:
    """What the labels of a text are."""
    [column] = (column for column in train.fields if column.name == LABEL)
    if column.kind == "list or object":
        return MULTI
    return REGRESSION if column.dtype == FRACTIONS else SINGLE


class SequenceClassification(LabelPrediction):
    """Predict the label of a text, or of a pair."""

    columns = Columns(sequences=("text", "text_pair"), fields=(LABEL,), optional=("text_pair",))
    auto_model = "AutoModelForSequenceClassification"
    answerer = "dlib.generation.labelling:Classifier"
    card: ClassVar[Mapping[str, str]] = {"kind": "text classifier", "pipeline_tag": "text-classification"}
    problem: Problem
    labels: Labels

    def study(self, train: TokenStore, dev: TokenStore) -> None:
        """Find the labels.

        Raises:
            UserError: there are no two.
        """
        self.problem = PROBLEMS.get(self.args.label_type) or find_problem(train)
        self.labels = Labels(()) if self.problem is REGRESSION else Labels.found(train.distinct(LABEL), LABEL)

    def check(self, store: TokenStore, document: int) -> None:
        """Refuse a label that is none."""
        self.target(store.field(LABEL, document))

    def recall(self, config: Any) -> None:
        """What its labels are."""
        self.problem, self.labels = problem_of(config), Labels.of_config(config)

    @property
    def config_changes(self) -> Mapping[str, Any]:
        """Kind and names of the labels; the padding, which models that look back search the last token by."""
        labels = {"num_labels": 1} if self.problem is REGRESSION else self.labels.config_changes
        return {**labels, "problem_type": self.problem.problem_type, "pad_token_id": self.roles.pad_id}

    @property
    def best(self) -> BestMetric:
        """That of its kind of label."""
        return BestMetric(f"dev/{self.problem.best_by}", highest=True)

    def target(self, value: object) -> int | float | list[int]:
        """What a document's label is compared with: a label's number, a number, or 0 or 1 for each label.

        Raises:
            UserError: the label is not known, or not of this kind.
        """
        try:
            if self.problem is REGRESSION:
                return number_in(value)
            if self.problem is SINGLE:
                return self.labels.number_of(value)
            there = {self.labels.number_of(item) for item in items_of(value)}
        except UserError as error:
            raise UserError(f'key "{LABEL}": {error}') from error
        return [int(number in there) for number in range(len(self.labels.names))]

    def rows(self, store: TokenStore, max_length: int) -> RowSource:
        """A text or a pair a row."""
        return PairRows(store, Joiner(PairFrame.of(self.tokenizer, self.roles), self.roles, max_length))

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack the rows; `labels` (B,) or, of several, (B, L)."""
        targets = torch.tensor([self.target(sample.fields[LABEL]) for sample in samples])
        pairs = [(sample.sequences[0], sample.sequences[1]) for sample in samples]
        return {**stack_pairs(pairs, self.roles.pad_id), "labels": targets}

    def predict(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of each row (B,), and logits (B, L)."""
        logits = logits_of(model, batch)
        return self.problem.losses(logits, batch["labels"]), logits

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The sum of the losses, and of each row the target and the guess."""
        losses, logits = self.predict(model, batch)
        pairs = zip(batch["labels"].tolist(), self.problem.guesses(logits).tolist(), strict=True)
        return Evaluated({"loss": float(losses.cpu().double().sum())}, list(pairs))

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Mean loss, and the scores of its kind of label."""
        targets, guesses = zip(*evaluated.items, strict=True)
        scores = self.problem.scores(targets, guesses, len(self.labels.names))
        return {**super().metrics(evaluated, tokens_per_byte), **scores}


def items_of(value: object) -> list[Any]:
    """The labels in a list.

    Raises:
        UserError: it is none, or one of names and numbers.
    """
    if not isinstance(value, list) or not all(isinstance(item, str | int | float) for item in value):
        raise UserError("not a list of names or numbers, as --label_type multi needs")
    return value


def number_in(value: object) -> float:
    """The number that a label is, or that a text says.

    Raises:
        UserError: it is none.
    """
    with suppress(TypeError, ValueError):
        number = float(value)  # type: ignore[arg-type]
        if math.isfinite(number):
            return number
    raise UserError(f'"{value}" is no number, as --label_type regression needs')
