"""The gradient of an optimizer step is that of its mean loss over target tokens, however it is cut and shared out."""

from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch.nn import functional as F

from dlib.args import ObjectiveArgs, OptimArgs
from dlib.data.steps import TrainingSteps
from dlib.objectives import build_objective
from dlib.training.schedules import learning_rate_at
from tests.exactness.ranks import run_on_ranks
from tests.exactness.steps import (
    ROWS,
    Gradients,
    Watching,
    assert_same_gradients,
    make_plan,
    relative_difference,
    train,
)
from tests.toys import ListRows, build_toy, token_prediction, toy_roles, toy_row

# Padded to 32 wherever a long row is in the micro-batch: most of it is padding then.
LENGTHS = (2, 31, 3, 3, 30, 2, 5, 4, 25, 2)
LINES = ListRows([toy_row(LENGTHS[number % len(LENGTHS)], number) for number in range(47)])
BATCH_SIZE = 32
UNMOVED = OptimArgs(learning_rate=0.0, max_grad_norm=0.0)
FLOAT32_TOLERANCE = 1e-6


class Case(NamedTuple):
    """A training of a full step and a partial one."""

    name: str
    precision: str
    last_step_samples: int


# Of a partial step's 27 samples the second of two ranks has 11, of 9 none.
CASES = [Case(*case) for case in product(("bert", "gpt2"), ("64-true", "32-true"), (27, 9))]


class Steps(NamedTuple):
    """The gradient and the mean loss of each step."""

    gradients: list[Gradients]
    losses: list[float]


def compute(case: Case, micro_batch_size: int, rank: int = 0, world_size: int = 1) -> Steps:
    watching = Watching()
    plan = make_plan(micro_batch_size, LINES, BATCH_SIZE + case.last_step_samples, BATCH_SIZE)
    train(
        plan,
        watching,
        name=case.name,
        rows=LINES,
        optim=UNMOVED,
        precision=case.precision,
        rank=rank,
        world_size=world_size,
    )
    return Steps(watching.gradients, watching.losses)


def compute_as_rank(rank: int, world_size: int) -> list[Steps]:
    return [compute(case, 4, rank, world_size) for case in CASES]


@pytest.fixture(scope="module")
def on_two_ranks() -> dict[Case, list[Steps]]:
    """What each of two real ranks computed, four micro-batches of four rows a rank."""
    return dict(zip(CASES, map(list, zip(*run_on_ranks(compute_as_rank, 2), strict=True)), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
@pytest.mark.oldest
def test_gradients_are_the_same_for_1x32_and_4x8_and_two_ranks_of_4x4(
    case: Case, on_two_ranks: dict[Case, list[Steps]]
) -> None:
    reference = compute(case, 32)
    assert len(reference.gradients) == 2
    for found in (compute(case, 8), *on_two_ranks[case]):
        for gradients, expected in zip(found.gradients, reference.gradients, strict=True):
            if case.precision == "64-true":
                assert_same_gradients(gradients, expected)
            assert relative_difference(gradients, expected) <= FLOAT32_TOLERANCE
        assert found.losses == pytest.approx(reference.losses, rel=1e-12 if case.precision == "64-true" else 1e-6)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_averaging_the_means_of_micro_batches_would_be_caught(name: str) -> None:
    exact = compute(Case(name, "64-true", 27), 8).gradients
    plan = make_plan(8, LINES, BATCH_SIZE + 27, BATCH_SIZE)
    objective = build_objective(ObjectiveArgs(objective="clm" if name == "gpt2" else "mlm"), toy_roles())
    steps = TrainingSteps(LINES, plan.batches, objective, 0, 1)
    for step in range(plan.total_steps):
        model = build_toy(name, dtype=torch.float64)
        micro_batches = [item["batch"] for item in steps[step]["micro_batches"]]
        for batch in micro_batches:
            loss = objective.loss_sum(model, batch) / len(batch["targets"])
            (loss / len(micro_batches)).backward()  # as accumulation is usually written, and DDP's mean over ranks
        faulty = {weight: p.grad for weight, p in model.named_parameters() if p.grad is not None}
        assert relative_difference(faulty, exact[step]) > 1e4 * FLOAT32_TOLERANCE
        with pytest.raises(AssertionError):
            assert_same_gradients(faulty, exact[step])


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_weights_are_the_same_for_any_micro_batch_size(name: str) -> None:
    reference = Watching()
    model = train(make_plan(8), reference, name=name).model
    assert len(reference.gradients) == 3, "two full steps and a partial one of 5 samples"
    for micro_batch_size in (4, 2, 1):
        watching = Watching()
        other = train(make_plan(micro_batch_size), watching, name=name).model
        for found, expected in zip(watching.gradients, reference.gradients, strict=True):
            assert_same_gradients(found, expected)
        assert watching.sums == pytest.approx(reference.sums, rel=1e-12)
        assert watching.sizes == reference.sizes
        for weight, expected_weight in zip(other.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(weight, expected_weight, rtol=1e-8, atol=1e-10)


def test_gradients_and_weights_are_those_of_a_plain_loop() -> None:
    plan, watching = make_plan(2), Watching()
    optim = OptimArgs(max_grad_norm=0.5, learning_rate=1e-2, weight_decay=0.1)
    trained = train(plan, watching, optim=optim).model

    objective = token_prediction("mlm")
    model = build_toy("bert", dtype=torch.float64)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(optim.adam_beta1, optim.adam_beta2), eps=optim.adam_epsilon)
    for step in range(plan.total_steps):
        loss_sum, count = torch.zeros((), dtype=torch.float64), 0
        for epoch, sample in zip(*plan.batches.step_samples(step), strict=True):
            hidden, positions, targets = objective.prepare(ROWS.sample(sample, (3, int(epoch), int(sample))))
            logits = model(input_ids=torch.from_numpy(hidden)[None]).logits[0, positions]
            loss_sum = loss_sum + F.cross_entropy(logits, torch.from_numpy(targets), reduction="sum")
            count += len(targets)
        optimizer.zero_grad()
        (loss_sum / count).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        assert_same_gradients(watching.gradients[step], gradients)
        assert watching.sums[step] == pytest.approx(loss_sum.item(), rel=1e-12)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        assert watching.norms[step] == pytest.approx(norm.item(), rel=1e-11)
        assert norm > 0.5, "the toy's gradients are clipped"
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, optim.learning_rate, optim, plan)
        optimizer.step()
    for (weight_name, weight), expected in zip(trained.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-7, atol=1e-9, msg=weight_name)
