"""The learning rate as a pure function, and what the optimizer is built of."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch

from dlib.args import OptimArgs
from dlib.data.batching import BatchPlan
from dlib.models.fitting import freeze
from dlib.process.versions import fused_devices
from dlib.training.optimizers import build_optimizer, has_fused_kernel
from dlib.training.plan import TrainingPlan
from dlib.training.schedules import learning_rate_at
from tests.toys import CAUSAL_CONFIGS, MASKED_CONFIGS, build_toy

pytestmark = pytest.mark.oldest

SCHEDULES = ("linear", "cosine", "constant", "wsd", "inverse_sqrt")
PEAK = 0.5

on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
needs_fused_kernel = pytest.mark.skipif("cpu" not in fused_devices(), reason="torch has no fused AdamW for the CPU")


def make_plan(total_steps: int = 100, warmup_steps: int = 10, decay_steps: int = 20) -> TrainingPlan:
    batches = BatchPlan(1000, 4, 4, 4 * total_steps, 1)
    return TrainingPlan(batches, Fraction(10), warmup_steps, decay_steps, 10, 10, 10, frozenset(), None)


def rates(schedule: str, plan: TrainingPlan, minimum: float = 0.0) -> list[float]:
    args = OptimArgs(schedule=schedule, min_learning_rate_ratio=minimum)
    return [learning_rate_at(step, PEAK, args, plan) for step in range(plan.total_steps + 1)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_is_linear_and_reaches_the_peak(schedule: str) -> None:
    found = rates(schedule, make_plan())
    assert found[:10] == pytest.approx([PEAK * (step + 1) / 10 for step in range(10)])
    assert max(found) == pytest.approx(PEAK)
    assert found[10] == pytest.approx(PEAK, rel=0.06)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup_steps", [0, 1, 10, 99, 100, 500])
@pytest.mark.parametrize("total_steps", [1, 2, 100])
def test_rate_is_never_negative_nor_above_the_peak(schedule: str, warmup_steps: int, total_steps: int) -> None:
    found = rates(schedule, make_plan(total_steps, warmup_steps))
    assert all(0 <= rate <= PEAK * (1 + 1e-12) for rate in found)
    assert all(rate > 0 for rate in found[:-1]), "no step is wasted"
    assert found[:warmup_steps] == sorted(found[:warmup_steps])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd"])
@pytest.mark.parametrize("minimum", [0.0, 0.1])
def test_schedule_falls_to_the_minimum_at_the_end(schedule: str, minimum: float) -> None:
    found = rates(schedule, make_plan(), minimum)
    assert found[-1] == pytest.approx(minimum * PEAK, abs=1e-12)
    assert found[10:] == sorted(found[10:], reverse=True)
    assert found[-2] == pytest.approx(minimum * PEAK, abs=0.06 * PEAK)


def test_linear_and_cosine_are_half_way_down_in_the_middle() -> None:
    for schedule in ("linear", "cosine"):
        assert rates(schedule, make_plan(), 0.2)[55] == pytest.approx(PEAK * 0.6)
    assert rates("cosine", make_plan())[10 + 30] == pytest.approx(PEAK * (1 + math.cos(math.pi / 3)) / 2)


def test_wsd_is_constant_and_then_linear() -> None:
    found = rates("wsd", make_plan())
    assert found[9:81] == pytest.approx([PEAK] * 72)
    assert found[80:] == pytest.approx([PEAK * (20 - step) / 20 for step in range(21)])


def test_constant_and_inverse_square_root() -> None:
    assert set(rates("constant", make_plan())[10:]) == {PEAK}
    found = rates("inverse_sqrt", make_plan())
    assert found[39] == pytest.approx(PEAK / 2)
    assert found[89] == pytest.approx(PEAK / 3)


def test_rate_does_not_depend_on_what_was_asked_before() -> None:
    args, plan = OptimArgs(schedule="cosine"), make_plan()
    forward = [learning_rate_at(step, PEAK, args, plan) for step in range(100)]
    assert [learning_rate_at(step, PEAK, args, plan) for step in reversed(range(100))] == forward[::-1]
    assert learning_rate_at(50, PEAK, args, replace(plan, eval_interval_steps=1)) == forward[50]


@pytest.mark.parametrize("name", [*MASKED_CONFIGS, *CAUSAL_CONFIGS])
def test_decay_is_on_matrices_and_not_on_biases_and_norms(name: str) -> None:
    model = build_toy(name)
    optimizer = build_optimizer(model, OptimArgs(weight_decay=0.1), fused=False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays.keys() == set(names.values()), "each weight once, tied ones too"
    for weight, decay in decays.items():
        is_vector = weight.endswith("bias") or "norm" in weight.lower() or ".ln_" in weight
        assert decay == (0.0 if is_vector else 0.1), weight


def test_frozen_weights_are_not_in_the_optimizer() -> None:
    model = build_toy("bert")
    freeze(model, "embeddings")
    optimizer = build_optimizer(model, OptimArgs(), fused=False)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_optimizer_takes_the_arguments() -> None:
    args = OptimArgs(learning_rate=0.3, adam_beta1=0.8, adam_beta2=0.7, adam_epsilon=1e-3)
    (group, _) = build_optimizer(build_toy("bert"), args, fused=False).param_groups
    assert (group["lr"], group["betas"], group["eps"]) == (0.3, (0.8, 0.7), 1e-3)


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=needs_fused_kernel), pytest.param("cuda", marks=on_gpu)])
def test_fused_kernel_gives_the_same_weights(device: str) -> None:
    models: list[Any] = [build_toy("bert"), build_toy("bert")]
    for model in models:
        model.to(device)
    optimizers = [
        build_optimizer(model, OptimArgs(learning_rate=1e-2), fused=fused)
        for model, fused in zip(models, (True, False), strict=True)
    ]
    for step in range(5):
        for model, optimizer in zip(models, optimizers, strict=True):
            torch.manual_seed(step)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    for fused, plain in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


def test_fused_kernel_is_left_out_where_the_gradient_is_scaled() -> None:
    assert has_fused_kernel(torch.device("cuda"), "32-true")
    assert not has_fused_kernel(torch.device("cuda"), "16-mixed")
    assert not has_fused_kernel(torch.device("cpu"), "16-mixed")
    assert not has_fused_kernel(torch.device("mps"), "32-true")
