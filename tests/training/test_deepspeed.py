"""What DeepSpeed is told, with an engine of ours in its place: there is no GPU here, and mostly no DeepSpeed either."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from dlib.args import OptimArgs
from dlib.process.errors import UserError
from dlib.training.deepspeed import engine_config
from dlib.training.non_finite import NonFiniteError, refuse_non_finite_weights
from dlib.training.preflight import refuse_missing_engine, refuse_strategy_on
from dlib.training.training_module import TrainingModule
from tests.exactness.steps import Watching, make_plan, train
from tests.training.test_resuming_optimizers import go_on, state_of

STAGES = ("deepspeed_stage_2", "deepspeed_stage_3_offload")


@pytest.fixture(autouse=True)
def restored_environment() -> Iterator[None]:
    """Lightning tells a process its place by variables, which would stay for the tests of other files."""
    with mock.patch.dict(os.environ):
        yield


class ToyEngine:
    """Computes as DeepSpeed's would on one device, and keeps what it was told."""

    def __init__(self, module: nn.Module, adamw: torch.optim.AdamW, config: dict[str, Any]) -> None:
        self.weights = [weight for group in adamw.param_groups for weight in group["params"]]
        self.module = module
        self.adamw = adamw
        self.config = config
        self.optimizer = self
        self.fp32_partitioned_groups_flat = self.weights
        self.is_boundary = config["gradient_accumulation_steps"] == 1
        self.boundaries: list[bool] = []

    def __call__(self, batch: Any) -> Tensor:
        found: Tensor = self.module(batch)
        return found

    def set_gradient_accumulation_boundary(self, is_boundary: bool) -> None:
        self.is_boundary = is_boundary

    def backward(self, loss: Tensor, scale_wrt_gas: bool = True) -> None:
        assert not scale_wrt_gas
        self.boundaries.append(self.is_boundary)
        loss.backward()

    def step(self) -> None:
        assert self.is_boundary
        self.norm = float(clip_grad_norm_(self.weights, self.config["gradient_clipping"] or float("inf")))
        self.adamw.step()
        self.adamw.zero_grad()

    def get_global_grad_norm(self) -> float:
        return self.norm


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ToyEngine]]:
    """The engines that were built, by a module in DeepSpeed's place."""
    built: list[ToyEngine] = []

    def initialize(*, model: nn.Module, optimizer: Any, config: dict[str, Any]) -> tuple[ToyEngine, None]:
        built.append(ToyEngine(model, optimizer, config))
        return built[-1], None

    def state_of(weight: nn.Parameter, name: str) -> Tensor:
        found: Tensor = built[-1].adamw.state[weight][name]
        return found

    package: Any = ModuleType("deepspeed")
    package.initialize = initialize
    package.utils = ModuleType("deepspeed.utils")
    package.utils.safe_get_full_optimizer_state = state_of
    package.utils.safe_set_full_optimizer_state = lambda weight, value, name: state_of(weight, name).copy_(value)
    monkeypatch.setitem(sys.modules, "deepspeed", package)
    monkeypatch.setitem(sys.modules, "deepspeed.utils", package.utils)
    yield built
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.parametrize("world_size", [1, 2])
def test_the_configuration_follows_from_the_plan(world_size: int) -> None:
    config = engine_config("deepspeed_stage_2", make_plan(2).batches, 2, world_size, 0.5)
    assert config["train_batch_size"] == 8
    assert config["train_micro_batch_size_per_gpu"] == 2
    assert config["gradient_accumulation_steps"] == 4 // world_size
    assert config["gradient_clipping"] == 0.5
    assert config["zero_optimization"] == {"stage": 2}


def test_stage_3_lays_weights_and_optimizer_into_the_hosts_memory() -> None:
    zero = engine_config("deepspeed_stage_3_offload", make_plan(2).batches, 2, 1, 1.0)["zero_optimization"]
    assert zero["stage"] == 3
    assert zero["offload_param"]["device"] == zero["offload_optimizer"]["device"] == "cpu"


@pytest.mark.parametrize("micro_batch_size", [2, 8])
def test_a_run_is_the_one_without_deepspeed(engines: list[ToyEngine], micro_batch_size: int) -> None:
    optim = OptimArgs(max_grad_norm=0.1, learning_rate=1e-2)
    runs = []
    for strategy in ("auto", STAGES[0]):
        watching = Watching()
        module = train(make_plan(micro_batch_size), watching, optim=optim, strategy=strategy, precision="32-true")
        runs.append((module, watching))
    (module, watching), (shared, watched) = runs
    assert watched.norms == pytest.approx(watching.norms)
    assert watched.losses == pytest.approx(watching.losses)
    for found, expected in zip(shared.parameters(), module.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)
    parts = 8 // micro_batch_size
    assert engines[0].boundaries == ([False] * (parts - 1) + [True]) * 3


@pytest.mark.parametrize(("before", "after"), [(STAGES[0], "auto"), ("auto", STAGES[1]), STAGES])
def test_its_state_is_adamws_which_goes_on_with_it_or_without(
    engines: list[ToyEngine], before: str, after: str
) -> None:
    optim, plan = OptimArgs(learning_rate=1e-2), make_plan(2)
    whole, states = train(plan, Watching(), dropout=True, optim=optim), list[dict[str, Any]]()
    watching = Watching(lambda module: states.append(state_of(module)))
    train(plan, watching, dropout=True, optim=optim, strategy=before)
    module, _ = go_on(states[0], optim, after)
    for found, expected in zip(module.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-9)
    assert states[-1]["optimizer"]["param_groups"] == optimizer_of(whole).state_dict()["param_groups"]


def optimizer_of(module: TrainingModule) -> Any:
    """Its optimizer, without Lightning's cover."""
    return cast(Any, module.optimizers()).optimizer


@pytest.mark.parametrize("strategy", STAGES)
def test_a_missing_package_or_gpu_is_one_line(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"^--distributed_strategy {strategy} needs the package deepspeed: pip install"):
        refuse_missing_engine(strategy)
    with pytest.raises(UserError, match=f"^--distributed_strategy {strategy} is for cuda, and not for cpu$"):
        refuse_strategy_on("cpu", strategy)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_weights_that_stage_3_has_cut_are_looked_at_whole(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    network = nn.Linear(2, 2)
    weight: Any = network.weight
    weight.ds_id, weight.data = 0, torch.empty(0)  # as stage 3 leaves it between two passes

    @contextmanager
    def gathered(weights: list[Any]) -> Iterator[None]:
        weights[0].data = torch.full((2, 2), value)
        yield
        weights[0].data = torch.empty(0)

    package: Any = ModuleType("deepspeed")
    package.zero = SimpleNamespace(GatheredParameters=gathered)
    monkeypatch.setitem(sys.modules, "deepspeed", package)
    refused = nullcontext() if value == 1.0 else pytest.raises(NonFiniteError, match="first weight")
    with refused:
        refuse_non_finite_weights(network, 1)
