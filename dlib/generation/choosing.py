"""The questions of lines answered by one of their choices.

Letters: B rows, C choices, T tokens a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dlib.data.samples import Sample
from dlib.data.unknown_words import encode
from dlib.generation.labelling import json_object
from dlib.generation.line_batches import encode_items
from dlib.objectives.answering import RowAnswerer
from dlib.objectives.multiple_choice import choice_parts, choice_scores, stack_choices
from dlib.objectives.pairs import Joiner, PairFrame


@dataclass(frozen=True)
class ChosenLine:
    """A question, the likeliest of its choices, its number, and the probability of each."""

    line: str
    text: str
    label: int
    probabilities: list[float]


class Chooser(RowAnswerer):
    """Says which choice answers a question: a JSON object with `question` and `choices`, or all between tabs."""

    options = ("scores",)

    def read(self, lines: Sequence[str]) -> Sequence[Sample]:
        """The rows of each line's choices, as in training."""
        joiner = Joiner(PairFrame.of(self.tokenizer, self.roles), self.roles, self.context)
        asked = [question_of(line) for line in lines]
        questions = encode(self.tokenizer, [question for question, _ in asked])
        choices = [encode_items(self.tokenizer, choices) for _, choices in asked]
        both = [*zip(questions, choices, strict=True)]
        self.num_cut += sum(any(joiner.cuts(question, choice) for choice in its) for question, its in both)
        return [Sample(choice_parts(joiner, question, its)) for question, its in both]

    def stack(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Rows of choices (B, C, T)."""
        return stack_choices(samples, self.roles.pad_id)

    def answer_batch(self, lines: Sequence[str], inputs: Mapping[str, Tensor]) -> Sequence[ChosenLine]:
        """The likeliest choice."""
        rows = choice_scores(self.model, dict(inputs)).softmax(-1).tolist()
        return [self.chosen(line, question_of(line)[1], row) for line, row in zip(lines, rows, strict=True)]

    def chosen(self, line: str, choices: Sequence[str], row: Sequence[float]) -> ChosenLine:
        """An answer from the probabilities (C,) of a line's choices, and of others that it has not."""
        shares = [*row[: len(choices)]]
        best = max(range(len(choices)), key=shares.__getitem__)
        text = f"{choices[best]}\t{shares[best]:.4f}" if self.args.scores else choices[best]
        return ChosenLine(line, text, best, shares)


def question_of(line: str) -> tuple[str, list[str]]:
    """The question of a line and its choices; an empty one where there is none."""
    record = json_object(line)
    if isinstance(record.get("choices"), list):
        return str(record.get("question")), [*map(str, record["choices"])] or [""]
    question, *choices = line.split("\t")
    return question, choices or [""]
