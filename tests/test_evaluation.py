"""An evaluation: equal to a plain loop, for any batch size and any number of processes."""

import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.args import ObjectiveArgs
from dlib.data.data_module import EvaluationBatches
from dlib.evaluation import evaluate
from dlib.objectives import build_objective
from dlib.objectives.token_prediction import Batch, TokenPrediction
from tests.toys import build_toy, toy_roles, unequal_rows

ROWS = unequal_rows(19)
TOKENS_PER_BYTE = 0.3


def toys(name: str) -> tuple[PreTrainedModel, TokenPrediction]:
    kind = "clm" if name == "gpt2" else "mlm"
    return build_toy(name, dropout=True), build_objective(ObjectiveArgs(objective=kind), toy_roles())


def batches(objective: TokenPrediction, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
    share = EvaluationBatches(ROWS, objective, batch_size, rank, world_size)
    return (share[index] for index in range(len(share)))


@pytest.mark.parametrize("name", ["roberta", "gpt2"])
def test_metrics_are_those_of_a_plain_loop_for_any_batch_size(name: str) -> None:
    model, objective = toys(name)
    loss = correct = count = 0.0
    with torch.no_grad():
        for sample in range(len(ROWS)):
            hidden, positions, targets = objective.prepare_row(ROWS.row(sample), ("evaluation", sample))
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


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_shares_of_the_ranks_sum_to_the_whole(world_size: int) -> None:
    model, objective = toys("roberta")

    def sums(rank: int, of: int) -> dict[str, float]:
        total = dict.fromkeys(objective.SUMS, 0.0)
        with torch.no_grad():
            for batch in batches(objective, 3, rank, of):
                for key, value in objective.evaluation_sums(model, batch).items():
                    total[key] += value
        return total

    whole, shares = sums(0, 1), [sums(rank, world_size) for rank in range(world_size)]
    for key in objective.SUMS:
        assert sum(share[key] for share in shares) == pytest.approx(whole[key], rel=1e-12)
    assert world_size < 8 or shares[7]["targets"] == 0, "seven batches for eight ranks: one has none"


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


UNEVEN, ONE_EMPTY = 4, 32


def evaluate_as_rank(rank: int, world_size: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    model, objective = toys("roberta")
    shares = [batches(objective, batch_size, rank, world_size) for batch_size in (UNEVEN, ONE_EMPTY)]
    metrics = [evaluate(model, objective, share, tokens_per_byte=TOKENS_PER_BYTE) for share in shares]
    torch.save(metrics, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_agree_on_the_metrics_of_one_also_when_one_has_no_rows(tmp_path: Path) -> None:
    model, objective = toys("roberta")
    alone = evaluate(model, objective, batches(objective, UNEVEN), tokens_per_byte=TOKENS_PER_BYTE)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    torch.multiprocessing.spawn(evaluate_as_rank, (2, port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first == second
    for metrics in first:
        assert metrics == pytest.approx(alone, rel=1e-6)
