"""A step of each objective has one loss and one gradient, however it is split into micro-batches."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel

from dlib.args.tables import OBJECTIVES
from dlib.data.samples import Sample
from dlib.models.fitting import fit_config
from dlib.objectives.objective import Objective
from dlib.objectives.sequence_classification import PROBLEMS, SequenceClassification
from dlib.objectives.span_corruption import SpanCorruption
from tests.asking import SPREAD
from tests.objectives.test_plain_losses import (
    LENGTHS,
    choice_samples,
    gradients,
    objective_of,
    text_samples,
    word_samples,
)
from tests.objectives.test_seq2seq import build_shape
from tests.toys import CAUSAL_CONFIGS, MASKED_CONFIGS, VOCAB_SIZE, remove_dropout, toy_row

ARCHITECTURES = {
    **dict.fromkeys(("clm", "metadata_clm"), "gpt2"),
    "replaced_token_detection": "electra",
    "seq2seq": "bart",
    "span_corruption": "t5",
}
"""BERT for the others."""
SPLITS = ((0, 5), (0, 3, 5), (0, 1, 2, 3, 4, 5))
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12}


def rows() -> list[Sample]:
    """Rows of several lengths, each with its key."""
    return [Sample((toy_row(length, n),), number=n, key=(1, 0, n)) for n, length in enumerate(LENGTHS)]


def pairs() -> list[Sample]:
    """Sources and targets."""
    return [Sample((toy_row(length, 1), toy_row(18 - length, 2))) for length in LENGTHS]


def told_rows() -> list[Sample]:
    """Rows that begin with metadata, but for the first."""
    known = zip(rows(), (1, 2, 5, 3, 2), strict=True)
    return [Sample(row.sequences, {"is_text": (np.arange(len(row.ids)) >= first,)}) for row, first in known]


def questions() -> list[Sample]:
    """Contexts of a character a token, the last of which has no answer."""
    found = []
    for number, length in enumerate(LENGTHS):
        places = np.arange(length - 1)
        answers = {"text": ["abc"[: 1 + number % 2]], "answer_start": [number % 3]}
        answers = answers if number < 4 else {"text": [], "answer_start": []}
        offsets = {"context": np.stack([places, places + 1], axis=1)}
        found.append(Sample((toy_row(4, number), toy_row(length, 5)), {"answers": answers}, offsets=offsets))
    return found


SAMPLES = {
    "seq2seq": pairs,
    "metadata_clm": told_rows,
    "question_answering": questions,
    "sequence_classification": lambda: text_samples("single", pairs=True),
    "token_classification": word_samples,
    "multiple_choice": lambda: choice_samples([2, 4, 1, 3, 2]),
}
"""`rows` for the others."""


def build(name: str) -> tuple[Objective, PreTrainedModel]:
    """The objective, and a small model without dropout."""
    objective, architecture = objective_of(name), ARCHITECTURES.get(name, "bert")
    if isinstance(objective, SequenceClassification):
        objective.problem = PROBLEMS["single"]
    if isinstance(objective, SpanCorruption):
        vars(objective)["sentinel_ids"] = np.arange(VOCAB_SIZE - 10, VOCAB_SIZE)
    if architecture in ("bart", "t5"):
        return objective, build_shape(architecture)
    config = {**MASKED_CONFIGS, **CAUSAL_CONFIGS}[architecture]()
    fit_config(config, objective.head)
    remove_dropout(config)
    torch.manual_seed(1)
    model = getattr(transformers, objective.head.auto_model_of(config)).from_config(config).eval()
    for weight in model.parameters() if name == "multiple_choice" else ():  # else it finds all choices alike
        weight.data *= SPREAD if weight.dim() > 1 else 1
    objective.modules.update(objective.build_modules(model))
    return objective, model


def step(objective: Objective, model: PreTrainedModel, samples: Sequence[Sample], split: Sequence[int]) -> Any:
    """Loss and gradient, by micro-batches."""
    weight, loss = sum(map(objective.weight, samples)), 0.0
    for start, stop in pairwise(split):
        part = objective.loss_sum(model, objective.collate(samples[start:stop])) / weight
        part.backward()
        loss += float(part.detach())
    networks = torch.nn.ModuleList([model, objective.modules])
    return loss, gradients(networks)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_is_the_same_however_it_is_split(name: str, dtype: torch.dtype) -> None:
    objective, model = build(name)
    torch.nn.ModuleList([model, objective.modules]).to(dtype)
    tolerance = TOLERANCES[dtype]
    samples = SAMPLES.get(name, rows)()
    loss, gradient = step(objective, model, samples, SPLITS[0])
    assert gradient.abs().max() > 1e-3
    for split in SPLITS[1:]:
        other_loss, other_gradient = step(objective, model, samples, split)
        assert other_loss == pytest.approx(loss, abs=tolerance)
        torch.testing.assert_close(other_gradient, gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["mlm", "clm", "metadata_clm"])
def test_a_step_of_tokens_is_that_of_the_plain_model_with_its_own_loss(name: str) -> None:
    objective, model = build(name)
    samples = SAMPLES.get(name, rows)()
    loss, gradient = step(objective, model, samples, SPLITS[1])
    batch = objective.collate(samples)
    places = batch["target_positions"] + (name != "mlm")  # transformers itself moves the labels of causal models
    labels = torch.full_like(batch["input_ids"], -100).flatten().scatter(0, places, batch["targets"])
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    plain: Any = model(**inputs, labels=labels.view_as(batch["input_ids"])).loss
    plain.backward()
    assert loss == pytest.approx(float(plain.detach()), abs=1e-5)
    torch.testing.assert_close(gradient, gradients(model), rtol=1e-5, atol=1e-5)
