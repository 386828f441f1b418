"""A step of an objective of labels is that of the plain Hugging Face model with its own loss, handed `labels`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from dlib.args import ObjectiveArgs
from dlib.data.samples import Sample
from dlib.models.fitting import fit_config
from dlib.objectives import build_objective
from dlib.objectives.labels import Labels
from dlib.objectives.objective import Batch, Objective
from dlib.objectives.sequence_classification import PROBLEMS, SequenceClassification
from dlib.objectives.token_classification import TokenClassification
from tests.asking import SPREAD
from tests.toys import CAUSAL_CONFIGS, MASKED_CONFIGS, remove_dropout, toy_roles, toy_row

pytestmark = pytest.mark.oldest

NAMES = ("a", "b", "c")
LENGTHS = (9, 4, 16, 11, 5)
TARGETS: dict[str, Sequence[Any]] = {
    "single": ["b", "a", "c", "c", "b"],
    "multi": [["a", "b"], [], ["c"], ["a", "b", "c"], ["b"]],
    "regression": [0.5, -1.25, 3, 2.0, 0.0],
}
STEP = ((0, 3), (3, 5))
"""Samples of its micro-batches."""


def empty() -> np.ndarray:
    return np.empty(0, dtype=np.int64)


def text_samples(kind: str, *, pairs: bool) -> list[Sample]:
    rows = [toy_row(length, seed) for seed, length in enumerate(LENGTHS)]
    seconds = [toy_row(length, 7) if pairs and length != 4 else empty() for length in LENGTHS]
    both = zip(rows, seconds, TARGETS[kind], strict=True)
    return [Sample((row, second), {"label": label}, n) for n, (row, second, label) in enumerate(both)]


def word_samples() -> list[Sample]:
    """Words of one to three tokens, and one without any; the last row was cut in the middle of them."""
    samples = []
    for number, length in enumerate(LENGTHS):
        lengths = np.array([1, 0, 3, 1, 2, 3, 3, 1][: 3 + number], dtype=np.int64)
        labels = [NAMES[place % 3] for place in range(len(lengths))]
        samples.append(Sample((toy_row(length, number),), {"labels": labels}, number, lengths={"tokens": lengths}))
    return samples


def choice_samples(counts: Sequence[int]) -> list[Sample]:
    samples = []
    for number, count in enumerate(counts):
        parts = [part for choice in range(count) for part in (toy_row(4 + choice, number), toy_row(3 + number, choice))]
        samples.append(Sample(tuple(parts), {"label": count - 1}, number))
    return samples


def objective_of(name: str) -> Objective:
    objective = build_objective(ObjectiveArgs(objective=name), toy_roles())
    if isinstance(objective, TokenClassification | SequenceClassification):
        objective.labels = Labels(NAMES)
    return objective


def model_of(objective: Objective, architecture: str) -> PreTrainedModel:
    config = {**MASKED_CONFIGS, **CAUSAL_CONFIGS}[architecture]()
    fit_config(config, objective.head)
    remove_dropout(config)
    torch.manual_seed(1)
    model: PreTrainedModel = getattr(transformers, objective.auto_model).from_config(config)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data *= SPREAD
    return model.eval()


def gradients(model: torch.nn.Module) -> Tensor:
    found = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    model.zero_grad()
    return found


def own_step(objective: Objective, model: PreTrainedModel, samples: Sequence[Sample]) -> tuple[float, Tensor]:
    """Loss and gradient, by micro-batches."""
    weight, loss = sum(map(objective.weight, samples)), 0.0
    for start, stop in STEP:
        part = objective.loss_sum(model, objective.collate(samples[start:stop])) / weight
        part.backward()
        loss += float(part.detach())
    return loss, gradients(model)


def plain_step(model: PreTrainedModel, batch: Batch) -> tuple[float, Tensor]:
    """Loss and gradient of all samples at once, by the model's own loss."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "is_choice"}
    if not (getattr(model.config, "type_vocab_size", 0) or 0) > 1:
        inputs.pop("token_type_ids", None)
    if getattr(model.config, "problem_type", None) == "multi_label_classification":
        inputs["labels"] = inputs["labels"].float()
    loss = model(**inputs).loss
    loss.backward()
    return float(loss.detach()), gradients(model)


def compare(objective: Objective, architecture: str, samples: Sequence[Sample]) -> None:
    model = model_of(objective, architecture)
    loss, gradient = own_step(objective, model, samples)
    plain_loss, plain_gradient = plain_step(model, objective.collate(samples))
    assert loss == pytest.approx(plain_loss, abs=1e-5)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-5, atol=1e-5)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ["bert", "roberta", "gpt2", "llama"])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_sequence_classification(kind: str, architecture: str) -> None:
    objective = objective_of("sequence_classification")
    assert isinstance(objective, SequenceClassification)
    objective.problem = PROBLEMS[kind]
    compare(objective, architecture, text_samples(kind, pairs=architecture == "bert"))


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_token_classification(architecture: str) -> None:
    compare(objective_of("token_classification"), architecture, word_samples())


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_multiple_choice(architecture: str) -> None:
    compare(objective_of("multiple_choice"), architecture, choice_samples([3, 3, 3, 3, 3]))


def test_choices_that_are_missing_change_nothing() -> None:
    """Questions with few choices have the loss that they have among their like."""
    objective = objective_of("multiple_choice")
    model = model_of(objective, "bert")
    samples = choice_samples([2, 4, 1, 3, 2])
    loss, gradient = own_step(objective, model, samples)
    alone = [plain_step(model, objective.collate([sample])) for sample in samples]
    assert loss == pytest.approx(sum(loss for loss, _ in alone) / len(samples), abs=1e-5)
    torch.testing.assert_close(gradient, sum(part for _, part in alone) / len(samples), rtol=1e-5, atol=1e-5)


def test_words_are_labelled_at_their_first_tokens_and_dropped_where_they_are_cut() -> None:
    objective = objective_of("token_classification")
    assert isinstance(objective, TokenClassification)
    no, sample = -100, word_samples()[2]  # of 14 tokens of text its words have 7
    assert objective.targets(sample).tolist() == [no, 0, 2, no, no, 0, 1, no, no, no, no, no, no, no, no, no]
    cut = Sample((sample.ids[:6],), sample.fields, 2, lengths=sample.lengths)
    assert objective.targets(cut).tolist() == [no, 0, 2, no, no, no]
    assert objective.weight(cut) == 2
