"""Spans of words, such as names: what B- and I- labels say, and how many of them are found.

Counted as conlleval and seqeval count: a span is right if its kind, its first and its last word are. An I- label that
goes on with no span of its kind begins one (Tjong Kim Sang and De Meulder 2003, "CoNLL-2003 shared task").
"""

import re
from collections.abc import Iterable, Sequence

OUTSIDE = "O"
BIO = re.compile("[BI]-.+")


def are_bio(names: Sequence[str]) -> bool:
    """Whether labels mark spans."""
    marks = [name for name in names if name != OUTSIDE]
    return bool(marks) and all(map(BIO.fullmatch, marks))


def spans(labels: Sequence[str]) -> set[tuple[str, int, int]]:
    """Kind, first and last word of each span of a row's labels."""
    found: list[tuple[str, int, int]] = []
    for place, label in enumerate(labels):
        begins, _, kind = label.partition("-")
        if label == OUTSIDE:
            continue
        if begins == "I" and found and (found[-1][0], found[-1][2]) == (kind, place - 1):
            found[-1] = (kind, found[-1][1], place)
        else:
            found.append((kind, place, place))
    return set(found)


def span_scores(rows: Iterable[Sequence[Sequence[str]]]) -> dict[str, float]:
    """Precision, recall and F1 of the spans of all rows, each its labels and the guesses; 0 where there are none."""
    there = guessed = right = 0
    for labels, guesses in rows:
        true, seen = spans(labels), spans(guesses)
        there, guessed, right = there + len(true), guessed + len(seen), right + len(true & seen)
    return {
        "span_precision": right / max(1, guessed),
        "span_recall": right / max(1, there),
        "span_f1": 2 * right / max(1, there + guessed),
    }
