"""Optimizer steps of a toy under the real trainer, and what each of them was."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from dlib.args import ObjectiveArgs, OptimArgs
from dlib.callbacks.step_callback import StepCallback
from dlib.data.batching import BatchPlan
from dlib.data.steps import TrainingSteps
from dlib.objectives import build_objective
from dlib.objectives.objective import Objective
from dlib.training.checkpoints import add_modules
from dlib.training.devices import Devices
from dlib.training.plan import TrainingPlan
from dlib.training.trainer import build_trainer
from dlib.training.training_module import TrainingModule
from tests.toys import ListRows, build_toy, toy_roles, unequal_rows

ROWS = unequal_rows(21)
BATCH_SIZE = 8
DTYPES = {"64-true": torch.float64, "32-true": torch.float32, "16-mixed": torch.float32}
Gradients = dict[str, torch.Tensor]


def make_plan(
    micro_batch_size: int, rows: ListRows = ROWS, total_samples: int = 21, batch_size: int = BATCH_SIZE
) -> TrainingPlan:
    """A plan whose learning rate and intervals do not matter."""
    return TrainingPlan(
        batches=BatchPlan(len(rows), batch_size, micro_batch_size, total_samples, seed=3),
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
        """Do `action` after each step."""
        self.action = action
        self.sums: list[float] = []
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.gradients: list[Gradients] = []
        self.sizes: list[tuple[int, int, int, int]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        """Keep the gradient as it is before clipping."""
        named = cast(TrainingModule, pl_module).model.named_parameters()
        self.gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Keep the step's numbers."""
        self.sums.append(float(module.step_loss_sums))
        self.losses.append(module.mean_loss())
        self.norms.append(float(module.gradient_norm))
        self.sizes.append((module.steps_done, module.samples_done, module.step_weight, module.step_tokens))
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
    precision: str = "64-true",
    rank: int = 0,
    world_size: int = 1,
    further: Sequence[pl.Callback] = (),
    objective: Objective | None = None,
    strategy: str = "auto",
) -> TrainingModule:
    """Trains a toy from `first_step` to the plan's end, as rank `rank`; a process group, if any, stands already."""
    if objective is None:
        objective = build_objective(ObjectiveArgs(objective="clm" if name == "gpt2" else "mlm"), toy_roles())
    model = build_toy(name, dtype=DTYPES[precision], dropout=dropout)
    add_modules(objective, model, 1, None)
    module = TrainingModule(model, objective, optim or OptimArgs(max_grad_norm=0.0), plan, precision)
    steps = TrainingSteps(rows, plan.batches, objective, rank, world_size)
    loader: DataLoader[Any] = DataLoader(steps, batch_size=None, sampler=range(first_step, plan.total_steps))
    devices = Devices("cpu", (0,) * world_size, 1, precision, ("CPU process",) * world_size)
    build_trainer(devices, strategy, [*further, watching]).fit(module, loader)
    return module


def assert_same_gradients(found: Gradients, expected: Gradients) -> None:
    """Equal to 1e-12 of the largest entry of each weight's gradient."""
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        difference = float((found[name] - gradient).abs().max())
        assert difference <= 1e-12 * max(float(gradient.abs().max()), 1e-3 * largest), name


def relative_difference(found: Gradients, expected: Gradients) -> float:
    """Norm of the difference of two gradients, relative to that of the expected one, over all weights."""
    assert found.keys() == expected.keys()
    difference = torch.stack([(found[name].double() - gradient.double()).norm() for name, gradient in expected.items()])
    return float(difference.norm() / torch.stack([gradient.double().norm() for gradient in expected.values()]).norm())
