"""Labels: their names, their numbers in a model, and how well they are guessed.

It stands apart because texts, words and choices are labelled alike. Letters: B rows.
"""

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dlib.objectives.objective import Batch, Objective
from dlib.process.errors import UserError

MOST_SHOWN = 10


@dataclass(frozen=True)
class Labels:
    """The labels of a task, in the order of the model's outputs."""

    names: tuple[str, ...]

    @classmethod
    def found(cls, values: Iterable[Any], key: str) -> "Labels":
        """The different values of a key in the training text, in their order.

        Raises:
            UserError: they are fewer than two, so that there is nothing to learn.
        """
        names = tuple(dict.fromkeys(map(name_of, values)))
        if len(names) < 2:
            raise UserError(f'key "{key}": the training text has no two labels, only {listed(names)}')
        return cls(names)

    @classmethod
    def of_config(cls, config: Any) -> "Labels":
        """Those of a model that was trained."""
        return cls(tuple(str(config.id2label[number]) for number in range(config.num_labels)))

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """The number of each name."""
        return {name: number for number, name in enumerate(self.names)}

    def number_of(self, value: object) -> int:
        """The number of a label as it stands in a document.

        Raises:
            UserError: the model does not know it.
        """
        number = self.numbers.get(name_of(value))
        if number is None:
            raise UserError(f'"{name_of(value)}" is no label of the training text, which has {listed(self.names)}')
        return number

    @property
    def config_changes(self) -> dict[str, Any]:
        """What the model's configuration keeps of them."""
        return {
            "num_labels": len(self.names),
            "id2label": dict(enumerate(self.names)),
            "label2id": dict(self.numbers),
        }


class LabelPrediction(Objective):
    """Samples in, losses of rows out."""

    @abstractmethod
    def predict(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses of rows (B,), and the logits that they are of."""

    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sum of the losses of the rows: a scalar with a gradient."""
        return self.predict(model, batch)[0].sum()

    def row_losses(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """The losses of the rows (B,)."""
        return self.predict(model, batch)[0]


def name_of(value: object) -> str:
    """A label's name. A column of numbers in which a fraction stands has 1 as 1.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def listed(names: Sequence[str]) -> str:
    """The first of some names, in words."""
    shown = ", ".join(f'"{name}"' for name in names[:MOST_SHOWN])
    return (shown or "none") + f" and {len(names) - MOST_SHOWN} more" * (len(names) > MOST_SHOWN)


def guess_scores(labels: Sequence[int], guesses: Sequence[int], num_labels: int) -> dict[str, float]:
    """Accuracy, micro and macro F1, and Matthews' correlation of single labels.

    A label that neither occurs nor is guessed is left out of macro F1, as in scikit-learn.
    """
    from torchmetrics.functional import classification

    pair = torch.tensor(guesses), torch.tensor(labels)
    found = {
        "accuracy": classification.multiclass_accuracy(*pair, num_labels, average="micro"),
        "micro_f1": classification.multiclass_f1_score(*pair, num_labels, average="micro"),
        "macro_f1": classification.multiclass_f1_score(*pair, num_labels, average="macro"),
    }
    return as_numbers(found) | {"matthews": matthews(labels, guesses)}


def matthews(labels: Sequence[int], guesses: Sequence[int]) -> float:
    """Matthews' correlation of single labels; 0 where all labels are the same, or all guesses are.

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient", equation 8. Not by
    torchmetrics: of two labels it gives numbers from -1 to 1 where the coefficient is not defined.
    """
    there, guessed, rows = Counter(labels), Counter(guesses), len(labels)
    right = sum(label == guess for label, guess in zip(labels, guesses, strict=True))
    covariance = right * rows - sum(count * guessed[label] for label, count in there.items())
    spreads = [rows**2 - sum(count**2 for count in counts.values()) for counts in (there, guessed)]
    return covariance / math.sqrt(math.prod(spreads)) if all(spreads) else 0.0


def label_f1(labels: Sequence[int], guesses: Sequence[int], num_labels: int) -> list[float]:
    """F1 of each single label; 0 where it neither occurs nor is guessed."""
    from torchmetrics.functional.classification import multiclass_f1_score

    found: list[float] = multiclass_f1_score(torch.tensor(guesses), torch.tensor(labels), num_labels, None).tolist()
    return found


def as_numbers(found: Mapping[str, Tensor]) -> dict[str, float]:
    """Metrics as numbers; one that is not defined, as nothing varies, is 0."""
    return {name: float(value.nan_to_num(0.0)) for name, value in found.items()}
