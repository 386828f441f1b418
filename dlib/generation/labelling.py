"""Lines labelled: the label, the labels or the number of each.

Letters: B rows, L labels.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args.generation import GenerationArgs
from dlib.data.samples import Sample
from dlib.data.unknown_words import encode
from dlib.objectives.answering import RowAnswerer
from dlib.objectives.labels import Labels
from dlib.objectives.pairs import Joiner, PairFrame, logits_of, stack_pairs
from dlib.objectives.sequence_classification import LIKELY, REGRESSION, SINGLE, problem_of


@dataclass(frozen=True)
class LabelledLine:
    """A line, its labels, and the probability of each that there is."""

    line: str
    text: str
    labels: list[str]
    probabilities: dict[str, float]


@dataclass(frozen=True)
class MeasuredLine:
    """A line and its number."""

    line: str
    value: float

    @property
    def text(self) -> str:
        """What comes out as plain text."""
        return f"{self.value:.4f}"


class Classifier(RowAnswerer):
    """Says the label of a line, the labels, or the number; a tab separates the two texts of a pair."""

    options = ("scores",)

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int, args: GenerationArgs
    ) -> None:
        """Find what the model's labels are."""
        super().__init__(model, tokenizer, context, args)
        self.problem, self.labels = problem_of(model.config), Labels.of_config(model.config)
        self.joiner = Joiner(PairFrame.of(tokenizer, self.roles), self.roles, context)

    def read(self, lines: Sequence[str]) -> Sequence[Sample]:
        """The texts of each line, joined as in training."""
        pairs = [encode(self.tokenizer, two_texts(line)) for line in lines]
        self.num_cut += sum(self.joiner.cuts(*pair) for pair in pairs)
        return [Sample(self.joiner.join(*pair)) for pair in pairs]

    def stack(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Rows, with token types."""
        return stack_pairs([(sample.sequences[0], sample.sequences[1]) for sample in samples], self.roles.pad_id)

    def answer_batch(self, lines: Sequence[str], inputs: Mapping[str, Tensor]) -> Sequence[Any]:
        """The likeliest label, or all that are likely."""
        logits = logits_of(self.model, dict(inputs))
        if self.problem is REGRESSION:
            return [MeasuredLine(line, value) for line, value in zip(lines, logits[:, 0].tolist(), strict=True)]
        shares = logits.softmax(-1) if self.problem is SINGLE else logits.sigmoid()
        return [self.labelled(line, its) for line, its in zip(lines, shares.tolist(), strict=True)]

    def labelled(self, line: str, shares: Sequence[float]) -> LabelledLine:
        """An answer from the probabilities of the labels (L,)."""
        found = dict(zip(self.labels.names, shares, strict=True))
        likely = [name for name, share in found.items() if share > LIKELY]
        if self.problem is SINGLE:
            likely = [max(found, key=found.__getitem__)]
        shown = [f"{name}\t{found[name]:.4f}" if self.args.scores else name for name in likely]
        return LabelledLine(line, "\t".join(shown), likely, found)


def two_texts(line: str) -> tuple[str, str]:
    """The texts of a line: keys `text` and `text_pair` of a JSON object, or what stands before and after a tab."""
    record = json_object(line)
    if "text" in record:
        return str(record["text"]), str(record.get("text_pair") or "")
    first, _, second = line.partition("\t")
    return first, second


def json_object(line: str) -> dict[str, Any]:
    """A line's JSON object; an empty one where it is none."""
    with suppress(ValueError, RecursionError):
        record = json.loads(line)
        if isinstance(record, dict):
            return record
    return {}
