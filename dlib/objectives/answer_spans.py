"""Answers as stretches of a context: where one stands in a window, and which one a model finds likeliest.

Letters: B rows, T tokens a row, n tokens of the context in a row.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dlib.objectives.characters import tokens_of

NOWHERE = (0, 0)
"""First and last token of an answer that is not in a row: the token that leads the row."""


@dataclass(frozen=True)
class Span:
    """The likeliest answer in a window."""

    first: int  # its first token among the window's tokens of the context
    last: int  # its last
    score: float  # sum of the logits of both
    null_score: float  # the same for the token that says that there is none
    probability: float  # of this start and this end, of all of the row


@dataclass(frozen=True)
class Found:
    """What is gathered of a window, to be joined with the other windows of its question."""

    document: int
    text: str
    score: float
    null_score: float
    answers: Sequence[str]  # the right ones


def answer_places(answers: Mapping[str, Any], offsets: np.ndarray) -> tuple[int, int] | None:
    """First and last token (of n) of the first of the right answers, None where it is not in the window.

    Args:
        answers: `text` and `answer_start`, a list each; empty where the question has no answer.
        offsets: characters of the context that each token stands for (n, 2).
    """
    if not answers["text"]:
        return None
    text, start = answers["text"][0], answers["answer_start"][0]
    return tokens_of(offsets, start + len(text) - len(text.lstrip()), start + len(text.rstrip()))


def find_spans(starts: Tensor, ends: Tensor, bounds: Sequence[tuple[int, int]], most: int) -> list[Span]:
    """The likeliest span of at most `most` tokens in each row: the highest sum of two logits, of all that there are.

    Args:
        starts: logits (B, T) that an answer starts at a token; -inf at padding.
        ends: likewise that it ends there.
        bounds: first token of the context in each row, and the one after its last; at least one token.
        most: tokens of an answer.
    """
    places = torch.arange(starts.shape[1], device=starts.device)
    first, stop = (torch.tensor(numbers, device=starts.device)[:, None] for numbers in zip(*bounds, strict=True))
    outside = (places < first) | (places >= stop)
    most = min(most, starts.shape[1])
    candidates = F.pad(ends.masked_fill(outside, -torch.inf), (0, most - 1), value=-torch.inf).unfold(1, most, 1)
    best_ends, lengths = candidates.max(-1)  # for each start
    scores, found = (starts.masked_fill(outside, -torch.inf) + best_ends).max(-1)
    lasts = found + lengths.gather(1, found[:, None])[:, 0]
    nulls = starts[:, 0] + ends[:, 0]
    chances = (scores - starts.logsumexp(-1) - ends.logsumexp(-1)).exp()
    columns = (found - first[:, 0], lasts - first[:, 0], scores, nulls, chances)
    return [Span(*numbers) for numbers in zip(*(column.tolist() for column in columns), strict=True)]


def span_text(context: str, offsets: np.ndarray | Sequence[Sequence[int]], span: Span) -> str:
    """The characters of a context that a span of a window stands for."""
    return context[int(offsets[span.first][0]) : int(offsets[span.last][1])].strip()


def best_window(found: Sequence[Found], *, may_lack: bool) -> str:
    """The answer to a question by all its windows: the likeliest, or none where each says so louder.

    Devlin et al. 2019, "BERT", section 4.3; of several windows the null score is the lowest.
    """
    best = max(found, key=lambda window: window.score)
    return "" if may_lack and min(window.null_score for window in found) > best.score else best.text


def score_answers(found: Sequence[Found], *, may_lack: bool) -> dict[str, float]:
    """Exact match and F1 in percent, as SQuAD's own script has them, and those of both kinds of questions.

    Args:
        found: of all windows, those of a question one after another.
        may_lack: whether an answer may be empty.
    """
    questions = [list(windows) for _, windows in groupby(found, key=lambda window: window.document)]
    pairs = [(best_window(windows, may_lack=may_lack), windows[0].answers) for windows in questions]
    metrics = squad_scores(pairs)
    kinds = {"answerable": [pair for pair in pairs if pair[1]], "unanswerable": [pair for pair in pairs if not pair[1]]}
    if all(kinds.values()):
        metrics |= {f"f1_{kind}": squad_scores(own)["f1"] for kind, own in kinds.items()}
    return metrics


def squad_scores(pairs: Sequence[tuple[str, Sequence[str]]]) -> dict[str, float]:
    """SQuAD's scores of answers and the right ones: means of torchmetrics' of each, whose own sum is in float32."""
    from torchmetrics.functional.text.squad import squad  # here and not above: it takes seconds to import

    scores: list[dict[str, float]] = []
    for text, answers in pairs:
        right: Any = {"id": "", "answers": {"text": list(answers) or [""], "answer_start": []}}
        scores.append({name: float(score) for name, score in squad({"id": "", "prediction_text": text}, right).items()})
    return {name: math.fsum(score[name] for score in scores) / len(scores) for name in ("exact_match", "f1")}
