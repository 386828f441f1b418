"""Answer questions by their contexts: the likeliest stretch of each, over all windows that the model reads.

line --read_line--> question, context --Windows--> rows --find_spans, in batches--> the best span of a line
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args.generation import GenerationArgs
from dlib.data.token_roles import TokenRoles, token_roles
from dlib.objectives.answer_spans import Span, find_spans, span_text
from dlib.objectives.answer_windows import Windows
from dlib.objectives.pairs import PairFrame, stack_pairs
from dlib.objectives.question_answering import SETTINGS, span_logits
from dlib.objectives.question_answering_args import QuestionAnsweringArgs
from dlib.process.errors import UserError


@dataclass(frozen=True)
class AnsweredLine:
    """A line, and the answer to its question; its score is the probability of its start and end in their window."""

    line: str
    text: str
    score: float


class QuestionAnswerer:
    """Answers lines: {"question": ..., "context": ...}, or both with a tab between them."""

    options = ("scores",)

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int, args: GenerationArgs
    ) -> None:
        """Take a model on its device, its tokenizer, and how many tokens it reads at once."""
        self.model, self.tokenizer, self.args = model, tokenizer, args
        self.roles: TokenRoles = token_roles(tokenizer)
        self.settings = {**vars(QuestionAnsweringArgs()), "may_lack": False, **getattr(model.config, SETTINGS, {})}
        self.windows = Windows(PairFrame.of(tokenizer, self.roles), context, self.settings["context_stride"])

    @torch.no_grad()
    def answer(self, lines: Sequence[str], first_number: int) -> list[AnsweredLine]:
        """Answer lines; blank ones stay blank."""
        asked = [(number, *read_line(line, first_number + number)) for number, line in enumerate(lines) if line.strip()]
        rows = [row for number, question, context in asked for row in self.rows_of(number, question, context)]
        found: dict[int, list[tuple[Span, str]]] = {}
        for start in range(0, len(rows), self.args.batch_size):
            batch = rows[start : start + self.args.batch_size]
            for (number, _, context, offsets), span in zip(batch, self.spans_of(batch), strict=True):
                found.setdefault(number, []).append((span, span_text(context, offsets, span)))
        return [self.best(line, found.get(number, [])) for number, line in enumerate(lines)]

    def rows_of(self, number: int, question: str, context: str) -> Iterator[tuple[int, Any, str, Any]]:
        """The windows of a line: its number, the parts of the row, the context, and where its tokens stand in it."""
        encode: Any = self.tokenizer
        asked = np.array(encode(question, add_special_tokens=False)["input_ids"], dtype=np.int64)
        read = encode(context, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids = np.array(read["input_ids"], dtype=np.int64)
        for place in range(int(self.windows.count(len(asked), len(ids))) if len(ids) else 0):
            parts, start, stop = self.windows.cut(asked, ids, place)
            yield number, parts, context, read["offset_mapping"][start:stop]

    def spans_of(self, rows: Sequence[tuple[int, Any, str, Any]]) -> list[Span]:
        """The likeliest span of each row."""
        batch = stack_pairs([parts for _, parts, _, _ in rows], self.roles.pad_id)
        on_device = {name: tensor.to(self.model.device) for name, tensor in batch.items()}
        bounds = [(len(parts[0]), len(parts[0]) + len(offsets)) for _, parts, _, offsets in rows]
        return find_spans(*span_logits(self.model, on_device), bounds, self.settings["max_answer_length"])

    def best(self, line: str, found: Sequence[tuple[Span, str]]) -> AnsweredLine:
        """The answer to a line by its windows."""
        if not found:
            return AnsweredLine(line, "", 0.0)
        span, text = max(found, key=lambda window: window[0].score)
        is_missing = self.settings["may_lack"] and min(other.null_score for other, _ in found) > span.score
        text = "" if is_missing else text
        return AnsweredLine(line, f"{text}\t{span.probability:.4f}" if self.args.scores else text, span.probability)


def read_line(line: str, number: int) -> tuple[str, str]:
    """The question and the context of a line.

    Raises:
        UserError: it is neither of the two forms.
    """
    question, tab, context = line.partition("\t")
    if not line.lstrip().startswith("{"):
        if tab:
            return question, context
    else:
        try:
            record = json.loads(line)
            return str(record["question"]), str(record["context"])
        except (KeyError, ValueError):
            pass
    raise UserError(f'line {number}: write {{"question": "...", "context": "..."}}, or both with a tab between them')
