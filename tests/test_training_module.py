"""One optimizer step: exact gradients for any micro-batches, dropout by key, and the plain loop it must equal."""

import copy
from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import lightning.pytorch as pl
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from dlib.args import ObjectiveArgs, OptimArgs
from dlib.callbacks.step_callback import StepCallback
from dlib.data.batching import BatchPlan
from dlib.data.data_module import EvaluationBatches, StepSampler, TrainingSteps
from dlib.devices import Devices
from dlib.evaluation import evaluate
from dlib.objectives import build_objective
from dlib.optim import learning_rate_at
from dlib.plan import TrainingPlan
from dlib.trainer import build_trainer
from dlib.training_module import TrainingModule
from tests.toys import ListRows, build_toy, toy_roles, unequal_rows

ROWS = unequal_rows(21)
BATCH_SIZE = 8
DEVICES = Devices("cpu", (0,), 1, "64-true", ("CPU process",))
Gradients = dict[str, torch.Tensor]


def make_plan(micro_batch_size: int, rows: ListRows = ROWS, total_samples: int = 21) -> TrainingPlan:
    return TrainingPlan(
        batches=BatchPlan(len(rows), BATCH_SIZE, micro_batch_size, total_samples, seed=3),
        tokens_per_sample=Fraction(rows.num_tokens, len(rows)),
        warmup_steps=1,
        decay_steps=1,
        eval_interval_steps=1,
        save_interval_steps=1,
        log_interval_steps=1,
        extra_steps=frozenset(),
        max_seconds=None,
    )


class Watching(StepCallback):
    """Keeps what the module says of each step, and does something after it."""

    def __init__(self, action: Callable[[TrainingModule], object] = lambda module: None) -> None:
        self.action = action
        self.sums: list[float] = []
        self.norms: list[float] = []
        self.gradients: list[Gradients] = []
        self.sizes: list[tuple[int, int, int, int]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        named = cast(TrainingModule, pl_module).model.named_parameters()
        self.gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        self.sums.append(float(module.step_loss_sum))
        self.norms.append(float(module.gradient_norm))
        self.sizes.append((module.steps_done, module.samples_done, module.step_targets, module.step_tokens))
        self.action(module)


def train(
    plan: TrainingPlan,
    watching: Watching,
    *,
    name: str = "bert",
    dropout: bool = False,
    rows: ListRows = ROWS,
    optim: OptimArgs | None = None,
    first_step: int = 0,
) -> TrainingModule:
    objective = build_objective(ObjectiveArgs(objective="clm" if name == "gpt2" else "mlm"), toy_roles())
    model = build_toy(name, dtype=torch.float64, dropout=dropout)
    module = TrainingModule(model, objective, optim or OptimArgs(max_grad_norm=0.0), plan, "64-true")
    steps = TrainingSteps(rows, plan.batches, objective, rank=0, world_size=1)
    loader: DataLoader[Any] = DataLoader(steps, batch_size=None, sampler=StepSampler(first_step, plan.total_steps))
    build_trainer(DEVICES, "auto", [watching]).fit(module, loader)
    return module


def assert_same_gradients(found: Gradients, expected: Gradients) -> None:
    """Equal to 1e-12 of the largest entry of each weight's gradient."""
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        difference = float((found[name] - gradient).abs().max())
        assert difference <= 1e-12 * max(float(gradient.abs().max()), 1e-3 * largest), name


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_gradients_and_weights_are_the_same_for_any_micro_batch_size(name: str) -> None:
    reference = Watching()
    model = train(make_plan(BATCH_SIZE), reference, name=name).model
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

    objective = build_objective(ObjectiveArgs(), toy_roles())
    model = build_toy("bert", dtype=torch.float64)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(optim.adam_beta1, optim.adam_beta2), eps=optim.adam_epsilon)
    for step in range(plan.total_steps):
        loss_sum, count = torch.zeros((), dtype=torch.float64), 0
        for epoch, sample in zip(*plan.batches.step_samples(step), strict=True):
            hidden, positions, targets = objective.prepare_row(ROWS.row(sample), (3, int(epoch), int(sample)))
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
            group["lr"] = learning_rate_at(step, optim, plan)
        optimizer.step()
    for (weight_name, weight), expected in zip(trained.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-7, atol=1e-9, msg=weight_name)


def test_step_tells_its_size() -> None:
    watching = Watching()
    train(make_plan(4), watching)
    assert [(done, samples) for done, samples, _, _ in watching.sizes] == [(1, 8), (2, 16), (3, 21)]
    assert sum(tokens for *_, tokens in watching.sizes) == ROWS.num_tokens


def test_training_leaves_evaluation_mode() -> None:
    modes: list[bool] = []
    train(make_plan(8), Watching(lambda module: modes.append(module.model.training)))
    assert modes == [True] * 3


def test_dropout_depends_on_seed_step_and_micro_batch_alone() -> None:
    plan = make_plan(2)
    plain, again, disturbed = Watching(), Watching(), Watching(lambda module: torch.rand(1000))
    train(plan, plain, dropout=True)
    torch.manual_seed(99)
    train(plan, again, dropout=True)
    train(plan, disturbed, dropout=True)
    assert plain.sums == again.sums == disturbed.sums
    without = Watching()
    train(plan, without)
    assert plain.sums != without.sums, "the toy has dropout"
    only_last = Watching()
    train(plan, only_last, dropout=True, first_step=2, optim=OptimArgs(learning_rate=0.0, max_grad_norm=0.0))
    frozen = Watching()
    train(plan, frozen, dropout=True, optim=OptimArgs(learning_rate=0.0, max_grad_norm=0.0))
    assert only_last.sums == frozen.sums[2:], "a step's dropout does not depend on the steps before"


def test_same_rows_are_dropped_out_differently_in_each_micro_batch_and_step() -> None:
    rows = ListRows([ROWS.row(0)] * 8)
    watching = Watching()
    unmoved = OptimArgs(learning_rate=0.0)
    train(make_plan(1, rows, 16), watching, name="gpt2", dropout=True, rows=rows, optim=unmoved)
    assert watching.sums[0] != watching.sums[1]
    step = TrainingSteps(rows, make_plan(1, rows, 16).batches, build_objective(ObjectiveArgs(), toy_roles()), 0, 1)[0]
    assert [item["index"] for item in step["micro_batches"]] == list(range(8))


def test_evaluating_in_the_middle_does_not_change_what_follows() -> None:
    def evaluate_now(module: TrainingModule) -> None:
        batches = EvaluationBatches(ROWS, module.objective, 4, 0, 1)
        items = (batches[i] for i in range(len(batches)))
        assert evaluate(module.model, module.objective, items, tokens_per_byte=1.0)["loss"] > 0
        assert module.model.training

    plain, evaluated = Watching(), Watching(evaluate_now)
    train(make_plan(2), plain, dropout=True)
    train(make_plan(2), evaluated, dropout=True)
    assert plain.sums == evaluated.sums
    assert plain.norms == evaluated.norms


def test_gradient_is_clipped_to_its_norm_and_the_norm_told_is_that_before() -> None:
    unclipped = Watching()
    limit = 1e-3
    train(make_plan(8), unclipped, optim=OptimArgs(max_grad_norm=0.0))
    after_clipping: list[float] = []

    class Measuring(Watching):
        def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
            def measure(*_: object) -> None:
                grads = [p.grad for p in module.parameters() if p.grad is not None]
                after_clipping.append(float(torch.stack([g.norm() for g in grads]).norm()))

            trainer.optimizers[0].register_step_post_hook(measure)  # clipping is part of the step

    clipped = Measuring()
    train(make_plan(8), clipped, optim=OptimArgs(max_grad_norm=limit))
    assert clipped.norms[0] == unclipped.norms[0] > limit
    assert after_clipping[0] == pytest.approx(limit, rel=1e-2)


def test_resuming_goes_on_bitwise_from_the_saved_state() -> None:
    plan, optim = make_plan(2), OptimArgs(learning_rate=1e-2)
    states: list[dict[str, Any]] = []

    def save(module: TrainingModule) -> None:
        optimizer = cast(Any, module.optimizers()).optimizer
        weights = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
        states.append(
            {
                "weights": weights,
                "steps_done": module.steps_done,
                "optimizer": copy.deepcopy(optimizer.state_dict()),
                "precision": copy.deepcopy(module.trainer.precision_plugin.state_dict()),
            }
        )

    whole = Watching(save)
    trained = train(plan, whole, dropout=True, optim=optim)
    rest = Watching()
    objective = build_objective(ObjectiveArgs(), toy_roles())
    model = build_toy("bert", dtype=torch.float64, dropout=True, seed=5)
    model.load_state_dict(states[0]["weights"])
    module = TrainingModule(model, objective, optim, plan, "64-true")
    module.resume(states[0])
    assert module.samples_done == BATCH_SIZE
    steps = TrainingSteps(ROWS, plan.batches, objective, rank=0, world_size=1)
    loader: DataLoader[Any] = DataLoader(steps, batch_size=None, sampler=StepSampler(1, plan.total_steps))
    build_trainer(DEVICES, "auto", [rest]).fit(module, loader)
    assert rest.sums == whole.sums[1:]
    assert all(a.equal(b) for a, b in zip(model.parameters(), trained.model.parameters(), strict=True))
