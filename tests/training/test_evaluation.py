"""An evaluation equals a plain loop; `tests/exactness/test_evaluation.py` has it on several ranks and in training."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.data.steps import EvaluationBatches
from dlib.objectives.objective import Batch, Evaluated
from dlib.objectives.token_prediction import TokenPrediction
from dlib.training.evaluation import evaluate, interleave
from tests.toys import build_toy, token_prediction, unequal_rows

pytestmark = pytest.mark.oldest

ROWS = unequal_rows(19)
TOKENS_PER_BYTE = 0.3


def toys(name: str) -> tuple[PreTrainedModel, TokenPrediction]:
    kind = "clm" if name == "gpt2" else "mlm"
    return build_toy(name, dropout=True), token_prediction(kind)


def batches(objective: TokenPrediction, batch_size: int) -> Iterator[tuple[Batch, float]]:
    share = EvaluationBatches(ROWS, objective, batch_size, rank=0, world_size=1)
    return (share[index] for index in range(len(share)))


@pytest.mark.parametrize("name", ["roberta", "gpt2"])
def test_metrics_are_those_of_a_plain_loop_for_any_batch_size(name: str) -> None:
    model, objective = toys(name)
    loss = correct = count = 0.0
    with torch.no_grad():
        for sample in range(len(ROWS)):
            hidden, positions, targets = objective.prepare(ROWS.sample(sample, ("evaluation", sample)))
            logits = model(input_ids=torch.from_numpy(hidden)[None]).logits[0, positions].double()
            loss += F.cross_entropy(logits, torch.from_numpy(targets), reduction="sum").item()
            correct += (logits.argmax(-1) == torch.from_numpy(targets)).sum().item()
            count += len(targets)
    expected = {
        "loss": loss / count,
        "perplexity": math.exp(loss / count),
        "bits_per_byte": loss / count / math.log(2) * TOKENS_PER_BYTE,
        "accuracy": correct / count,
    }
    for batch_size in (1, 3, 16):
        found = evaluate(model, objective, batches(objective, batch_size), tokens_per_byte=TOKENS_PER_BYTE)
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_model_is_left_in_its_mode_and_draws_nothing(training: bool) -> None:
    model, objective = toys("roberta")
    model.train(training)
    state = torch.get_rng_state()
    first = evaluate(model, objective, batches(objective, 4), tokens_per_byte=1.0)
    assert first == evaluate(model, objective, batches(objective, 4), tokens_per_byte=1.0)
    assert model.training == training
    assert torch.get_rng_state().equal(state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_items_stand_in_the_order_of_the_rows_whoever_measured_them() -> None:
    batches_of_ranks = [[[0, 1], [4, 5]], [[2, 3], [6]], []]
    shares = [[Evaluated({"n": float(len(items))}, items) for items in share] for share in batches_of_ranks]
    together = interleave(shares)
    assert list(together.items) == [0, 1, 2, 3, 4, 5, 6]
    assert together.sums == {"n": 7.0}
