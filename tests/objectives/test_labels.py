"""Labels by name and number; scores equal to scikit-learn's, SciPy's and seqeval's, which were computed once."""

from dataclasses import dataclass
from typing import Any

import pytest

from dlib.objectives.labels import Labels, guess_scores, label_f1
from dlib.objectives.sequence_classification import multi_scores, regression_scores
from dlib.objectives.spans import are_bio, span_scores, spans
from dlib.process.errors import UserError

LABELS = [0, 1, 2, 2, 1, 0, 0, 3, 1, 2]
GUESSES = [0, 1, 1, 2, 1, 0, 2, 0, 1, 2]
TRUE_SPANS = [
    "B-PER I-PER O B-LOC O",
    "O B-LOC I-LOC B-LOC O I-PER",
    "B-ORG O I-ORG I-ORG O",
    "O O",
    "B-PER I-LOC I-LOC",
]
SEEN_SPANS = [
    "B-PER I-PER O I-LOC O",
    "O B-LOC B-LOC I-LOC O B-PER",
    "B-ORG I-ORG I-ORG O O",
    "O B-LOC",
    "I-PER I-LOC B-LOC",
]


@dataclass
class Config:
    """What a model keeps of its labels."""

    num_labels: int
    id2label: dict[int, str]


def test_labels_are_found_kept_and_numbered_again() -> None:
    labels = Labels.found([2, 10, "b"], "label")
    assert labels.names == ("2", "10", "b")
    assert labels.config_changes["label2id"] == {"2": 0, "10": 1, "b": 2}
    changes: dict[str, Any] = labels.config_changes
    assert Labels.of_config(Config(changes["num_labels"], changes["id2label"])) == labels
    assert (labels.number_of("b"), labels.number_of(10), labels.number_of(10.0)) == (2, 1, 1)


def test_an_unknown_label_and_a_single_one_are_refused() -> None:
    with pytest.raises(UserError, match=r'^"c" is no label of the training text, which has "a", "b"$'):
        Labels(("a", "b")).number_of("c")
    with pytest.raises(UserError, match=r'^key "label": the training text has no two labels, only "a"$'):
        Labels.found(["a"], "label")


def test_scores_of_single_labels_are_those_of_scikit_learn() -> None:
    found = guess_scores(LABELS, GUESSES, 5)
    wanted = {"accuracy": 0.7, "micro_f1": 0.7, "macro_f1": 0.5476190476190476, "matthews": 0.5802588531856595}
    assert found == pytest.approx(wanted, abs=1e-6)
    assert label_f1(LABELS, GUESSES, 5) == pytest.approx([0.66666667, 0.85714286, 0.66666667, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "guesses"),
    [([0] * 999 + [1], [0] * 1000), ([0] * 6 + [1] * 4, [1] * 10), ([0, 0], [0, 0]), ([1, 1], [0, 0]), ([0], [0])],
)
def test_a_guess_that_is_always_the_same_correlates_with_nothing(labels: list[int], guesses: list[int]) -> None:
    assert guess_scores(labels, guesses, 2)["matthews"] == 0


def test_scores_of_several_labels_are_those_of_scikit_learn() -> None:
    targets, guesses = [[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]]
    wanted = {"accuracy": 9 / 12, "micro_f1": 2 / 3, "macro_f1": 5 / 9, "exact_match": 0.25}
    assert multi_scores(targets, guesses, 3) == pytest.approx(wanted, abs=1e-6)


def test_correlations_are_those_of_scipy_and_zero_where_nothing_varies() -> None:
    found = regression_scores([1.0, 2.5, 0.3, 4.0, 2.2], [0.9, 2.0, 0.5, 2.1, 3.0], 1)
    assert found == pytest.approx({"pearson": 0.706261194869581, "spearman": 0.7}, abs=1e-9)
    assert regression_scores([2.0, 0.0, 2.0, 1.0], [0.5, 3.0, 1.0, 1.0], 1)["spearman"] == pytest.approx(
        -5 / 6, abs=1e-9
    )
    assert regression_scores([1.0, 2.0], [0.5, 0.5], 1) == {"pearson": 0.0, "spearman": 0.0}
    assert regression_scores([1.0], [0.5], 1) == {"pearson": 0.0, "spearman": 0.0}


def test_scores_of_spans_are_those_of_seqeval() -> None:
    rows = [(true.split(), seen.split()) for true, seen in zip(TRUE_SPANS, SEEN_SPANS, strict=True)]
    assert span_scores(rows) == {"span_precision": 4 / 10, "span_recall": 4 / 9, "span_f1": 8 / 19}
    assert span_scores([(["O"], ["O"])]) == {"span_precision": 0, "span_recall": 0, "span_f1": 0}


def test_a_span_begins_where_its_kind_does() -> None:
    assert spans("B-A I-A B-A I-B O I-B".split()) == {("A", 0, 1), ("A", 2, 2), ("B", 3, 3), ("B", 5, 5)}


@pytest.mark.parametrize(
    ("names", "wanted"), [("O B-A I-A", True), ("B-A I-A", True), ("O", False), ("0 1", False), ("O S-A", False)]
)
def test_labels_that_mark_spans_are_told(names: str, wanted: bool) -> None:
    assert are_bio(names.split()) == wanted
