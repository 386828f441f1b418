"""An evaluation counts each token once for any ranks and batch size, on masks of its own, and leaves training alone."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from transformers import PreTrainedModel

from dlib.args import ObjectiveArgs
from dlib.data.steps import EvaluationBatches
from dlib.objectives import build_objective
from dlib.objectives.token_prediction import Batch
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from dlib.training.evaluation import evaluate
from tests.exactness.comparing import contents
from tests.exactness.ranks import run_on_ranks
from tests.launching import Place, train
from tests.toys import build_toy, token_prediction, toy_roles, unequal_rows

ROWS = unequal_rows(19)
# 19, 5, 4 and 1 batches: shares of two and three ranks are uneven, and of the last one rank alone has rows.
BATCH_SIZES = (1, 4, 5, 32)
WORLD_SIZES = (1, 2, 3)
MODELS = {"roberta": "mlm", "gpt2": "clm"}
# Sums of a few float32 losses are exact in float64, in any order; those of float64 losses are not.
DTYPES = {"roberta": torch.float64, "gpt2": torch.float32}


class Seen(NamedTuple):
    """What a rank evaluated, and what it was told.

    Attributes:
        samples: of each row its tokens as the model saw them, the places of its targets, and the targets.
        metrics: of all ranks.
    """

    samples: list[tuple[tuple[int, ...], ...]]
    metrics: dict[str, float]


def samples_of(batch: Batch) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Each row of a batch, without its padding and its place in the batch."""
    input_ids = batch["input_ids"]
    width = input_ids.shape[1]
    lengths = batch.get("attention_mask", torch.ones_like(input_ids)).sum(1).tolist()
    for index, (row, length) in enumerate(zip(input_ids.tolist(), lengths, strict=True)):
        own = batch["target_positions"] // width == index
        places = (batch["target_positions"][own] % width).tolist()
        yield tuple(row[:length]), tuple(places), tuple(batch["targets"][own].tolist())


def evaluate_share(model: PreTrainedModel, kind: str, batch_size: int, rank: int, world_size: int) -> Seen:
    """Evaluates what the rank is dealt, and notes it."""
    objective = build_objective(ObjectiveArgs(objective=kind), toy_roles())
    share = EvaluationBatches(ROWS, objective, batch_size, rank, world_size)
    samples: list[tuple[tuple[int, ...], ...]] = []

    def noted() -> Iterator[tuple[Batch, float]]:
        for index in range(len(share)):
            samples.extend(samples_of(share[index][0]))
            yield share[index]

    metrics = evaluate(model, objective, noted(), tokens_per_byte=0.3)
    return Seen(samples, metrics)


def evaluate_as_rank(rank: int, world_size: int) -> dict[tuple[str, int], Seen]:
    return {
        (name, batch_size): evaluate_share(
            build_toy(name, dtype=DTYPES[name], dropout=True), kind, batch_size, rank, world_size
        )
        for name, kind in MODELS.items()
        for batch_size in BATCH_SIZES
    }


Evaluations = dict[int, list[dict[tuple[str, int], Seen]]]
"""By the number of ranks, of each of them, by model and batch size."""


@pytest.fixture(scope="module")
def evaluations() -> Evaluations:
    """What one, two and three real ranks evaluated."""
    return {world_size: run_on_ranks(evaluate_as_rank, world_size) for world_size in WORLD_SIZES}


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_ranks_have_each_row_once_with_masks_that_depend_on_the_row_alone(
    evaluations: Evaluations, name: str, batch_size: int
) -> None:
    objective = token_prediction(MODELS[name])
    prepared = [objective.prepare(ROWS.sample(index, ("evaluation", index))) for index in range(len(ROWS))]
    expected = Counter(tuple(tuple(part.tolist()) for part in parts) for parts in prepared)
    for ranks in evaluations.values():
        assert sum((Counter(rank[name, batch_size].samples) for rank in ranks), Counter()) == expected
    shares = [[len(rank[name, batch_size].samples) for rank in ranks] for ranks in evaluations.values()]
    assert len(set(shares[2])) > 1, "the three shares are uneven"
    assert batch_size < 32 or shares == [[19], [19, 0], [19, 0, 0]]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.oldest
def test_metrics_have_the_same_bits_for_one_two_and_three_ranks(evaluations: Evaluations, name: str) -> None:
    for batch_size in BATCH_SIZES:
        (alone,) = evaluations[1]
        for ranks in evaluations.values():
            for rank in ranks:
                assert rank[name, batch_size].metrics == alone[name, batch_size].metrics


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.oldest
def test_metrics_are_the_same_for_any_batch_size(evaluations: Evaluations, name: str) -> None:
    (alone,) = evaluations[1]
    for batch_size in BATCH_SIZES:
        assert alone[name, batch_size].metrics == pytest.approx(alone[name, 1].metrics, rel=1e-6)


def test_two_models_are_compared_on_the_same_masks() -> None:
    samples = []
    for name, seed in (("roberta", 1), ("distilbert", 2)):
        torch.manual_seed(seed)
        samples.append(evaluate_share(build_toy(name, seed=seed), "mlm", 4, 0, 1).samples)
    assert samples[0] == samples[1]


GOAL = ("--training_goal", "101 samples", "--save_interval", "4")  # 13 steps, the last one partial; dropout is on
KINDS = {
    "packed": (),
    "lines": ("--line_by_line", "--whole_word_masking"),
    "clm": ("--objective", "clm", "--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2"),
}


def run(place: Place, scratch: Path, name: str, *further: str) -> RunFolder:
    """Trains to the end; a run with `--checkpoint` begins from its weights."""
    arguments = place.arguments(name, *further)
    if "--checkpoint" in further:
        arguments.remove("--from_scratch")
    result = train(arguments, scratch)
    assert result.status == 0, result.stderr
    return place.folder(name)


def numbers(folder: RunFolder, prefix: str) -> dict[int, dict[str, float]]:
    """The values of each record whose names begin with `prefix`, by step."""
    records = {r["step"]: {k: v for k, v in r.items() if k.startswith(prefix)} for r in read_metrics(folder.metrics)}
    return {step: values for step, values in records.items() if values}


@pytest.mark.parametrize("kind", KINDS)
def test_training_ends_with_the_same_bytes_evaluated_often_or_at_the_end_alone(
    place: Place, tmp_path: Path, kind: str
) -> None:
    often = run(place, tmp_path, "often", *GOAL, *KINDS[kind], "--eval_interval", "3")
    once = run(place, tmp_path, "once", *GOAL, *KINDS[kind], "--eval_interval", "13")
    assert list(numbers(often, "dev/")) == [3, 6, 9, 12, 13]
    assert list(numbers(once, "dev/")) == [13]
    assert numbers(often, "train/") == numbers(once, "train/")
    assert len(numbers(often, "train/")) == 13
    assert numbers(often, "dev/")[13] == numbers(once, "dev/")[13]
    assert often.last.readlink() == once.last.readlink()
    assert contents(often.last) == contents(once.last)


def test_masks_of_an_evaluation_do_not_depend_on_the_seed_of_the_run(place: Place, tmp_path: Path) -> None:
    first = run(place, tmp_path, "first", "--training_goal", "2", "--learning_rate", "1e-3")
    start = ("--checkpoint", str(first.root), "--learning_rate", "0", "--training_goal", "1")
    again, other = (run(place, tmp_path, f"seed-{seed}", *start, "--seed", str(seed)) for seed in (1, 2))
    trained_on = [numbers(folder, "train/")[1]["train/loss"] for folder in (again, other)]
    assert trained_on[0] != trained_on[1], "the seed changes samples, masks and dropout of the training"
    measured = [numbers(folder, "dev/") for folder in (first, again, other)]
    assert measured[1] == measured[2] == {1: measured[0][2]}
