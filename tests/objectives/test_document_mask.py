"""Packed documents that are kept apart are learned from as if each had a row of its own."""

import numpy as np
import pytest
import torch

from dlib.data.samples import Sample
from dlib.models.document_mask import keep_documents_apart
from dlib.models.head import Head
from dlib.objectives.padding import model_inputs, stack_documents, stack_rows
from dlib.objectives.token_prediction import predict_targets
from tests.toys import LEAD, MASK, PAD, SEPARATOR, build_toy, token_prediction, toy_row

DOCUMENTS = [np.append(toy_row(length, length), SEPARATOR) for length in (5, 2, 9, 4)]
STARTS = np.cumsum([*map(len, DOCUMENTS)])[:-1]
PACKED = Sample((np.concatenate(DOCUMENTS),), key=(1, 0, 0), document_starts=STARTS)
SHORTER = Sample((np.concatenate(DOCUMENTS[:2]),), key=(1, 0, 1), document_starts=STARTS[:1])
MODELS = {"gpt2": "clm", "llama": "clm", "roberta": "mlm", "bert": "mlm"}


def unpadded(sample: Sample) -> list[Sample]:
    """Each document of a packed row as a row."""
    assert sample.document_starts is not None
    return [Sample((ids,)) for ids in np.split(sample.ids, sample.document_starts)]


def test_a_document_is_predicted_from_its_own_lead_and_nothing_from_another() -> None:
    row, places, targets = token_prediction("clm").prepare(PACKED)
    assert np.array_equal(row, PACKED.ids)
    assert np.array_equal(targets, row[places + 1])
    assert LEAD not in targets
    assert len(targets) == sum(len(document) - 1 for document in DOCUMENTS) == token_prediction("clm").weight(PACKED)
    assert {*STARTS.tolist()} <= {*places.tolist()}, "first tokens are predicted from the lead"


def test_a_batch_says_which_document_each_token_is_of_and_padding_is_one_more() -> None:
    batch = token_prediction("mlm").collate([PACKED, SHORTER])
    assert batch.keys() == {"input_ids", "documents", "target_positions", "targets"}
    lengths = [len(document) for document in DOCUMENTS]
    assert batch["documents"][0].tolist() == np.repeat(range(4), lengths).tolist()
    padding = batch["documents"].shape[1] - sum(lengths[:2])
    assert batch["documents"][1].tolist() == np.repeat(range(3), [*lengths[:2], padding]).tolist()
    assert (batch["input_ids"] == MASK).any()
    assert model_inputs(batch).keys() == {"input_ids", "documents"}


@pytest.mark.parametrize("name", [name for name, kind in MODELS.items() if kind == "clm"])
def test_loss_and_gradients_are_those_of_the_documents_by_themselves(name: str) -> None:
    model, objective = build_toy(name, dtype=torch.float64), token_prediction("clm")
    keep_documents_apart(model, name, 32, Head("", True, objective.forward_options))

    def learn(*batches: list[Sample]) -> tuple[float, list[torch.Tensor]]:
        model.zero_grad()
        losses = [objective.loss_sum(model, objective.collate(batch)) for batch in batches]
        total = torch.stack(losses).sum()
        total.backward()
        return float(total.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    loss, gradients = learn([PACKED, SHORTER])
    expected, expected_gradients = learn(*([sample] for sample in (*unpadded(PACKED), *unpadded(SHORTER))))
    assert loss == pytest.approx(expected, rel=1e-12)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, kind in MODELS.items() if kind == "mlm"])
def test_the_guesses_at_a_mask_are_those_of_its_document_alone(name: str) -> None:
    model, objective = build_toy(name, dtype=torch.float64), token_prediction("mlm")
    keep_documents_apart(model, name, 32, Head(""))
    batch = objective.collate([PACKED])
    logits = predict_targets(model, batch)
    places = batch["target_positions"]
    found = []
    for first, last in zip([0, *STARTS], [*STARTS, len(PACKED.ids)], strict=True):
        alone = model(input_ids=batch["input_ids"][:, first:last]).logits[0]
        found.append(alone[places[(places >= first) & (places < last)] - first])
    torch.testing.assert_close(logits, torch.cat(found), rtol=1e-10, atol=1e-12)


def test_documents_are_told_of_the_rows_that_were_stacked() -> None:
    starts = [np.array([4, 7]), np.array([], np.int64)]
    assert (
        stack_documents(starts, stack_rows([toy_row(9), toy_row(9)], PAD))["documents"][0].tolist()
        == [0] * 4 + [1] * 3 + [2] * 2
    )
    padded = stack_documents(starts, stack_rows([toy_row(9), toy_row(3)], PAD))["documents"]
    assert padded.tolist() == [[0] * 4 + [1] * 3 + [2] * 2 + [3] * 7, [0] * 3 + [1] * 13]
