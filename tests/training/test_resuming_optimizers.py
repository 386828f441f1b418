"""Each optimizer of the table goes on bitwise, is counted, and says how much room it needs; so does a user's own."""

import io
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from dlib.args import ObjectiveArgs, OptimArgs
from dlib.args.tables import OPTIMIZERS, Plugin
from dlib.data.steps import TrainingSteps
from dlib.objectives import build_objective
from dlib.training.checkpoints import checkpoint_bytes, estimate_checkpoint_bytes
from dlib.training.devices import Devices
from dlib.training.parameter_groups import Group, embedding_tables, split_groups
from dlib.training.trainer import build_trainer
from dlib.training.training_module import TrainingModule
from tests.exactness.steps import BATCH_SIZE, ROWS, Watching, make_plan, train
from tests.toys import OPTIMIZERS_THERE, build_toy, toy_roles

pytestmark = pytest.mark.oldest

DEVICES = Devices("cpu", (0,), 1, "64-true", ("CPU process",))
RATES = {"sgd": 0.1, "adafactor": 0.1}


class SignMomentum(Optimizer):
    """A user's own: the sign of a running mean, which it keeps."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Compute gradients by `closure`, and follow the means' signs."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        mean = self.kept(parameter).setdefault("mean", torch.zeros_like(parameter))
                        parameter.add_(mean.lerp_(parameter.grad, 0.1).sign(), alpha=-group["lr"])
        return loss

    def kept(self, parameter: torch.Tensor) -> dict[str, Any]:
        """What it keeps of a weight."""
        return self.state[parameter]


class NumberedMomentum(SignMomentum):
    """One that keeps the means by number, in a plain dictionary."""

    def __init__(self, groups: list[Group]) -> None:
        """Number the weights."""
        super().__init__(groups, {})
        self.state: Any = {}
        weights = [parameter for group in self.param_groups for parameter in group["params"]]
        self.numbers = {parameter: number for number, parameter in enumerate(weights)}

    def kept(self, parameter: torch.Tensor) -> dict[str, Any]:
        """What it keeps under a weight's number."""
        kept: dict[str, Any] = self.state.setdefault(self.numbers[parameter], {})
        return kept


def build_own(groups: list[Group], args: OptimArgs, *, model: torch.nn.Module, fused: bool) -> Optimizer:
    return SignMomentum(groups, {})


def build_numbered(groups: list[Group], args: OptimArgs, *, model: torch.nn.Module, fused: bool) -> Optimizer:
    return NumberedMomentum(groups)


def build_adagrad(groups: list[Group], args: OptimArgs, *, model: torch.nn.Module, fused: bool) -> Optimizer:
    """It has the state of all weights from the beginning."""
    return torch.optim.Adagrad(groups)


def build_still(groups: list[Group], args: OptimArgs, *, model: torch.nn.Module, fused: bool) -> Optimizer:
    """AdamW with embeddings at a rate of 0."""
    still, others = split_groups(groups, embedding_tables(model))
    return torch.optim.AdamW([*({**group, "lr": 0.0} for group in still), *others])


@pytest.fixture(autouse=True)
def own_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """More lines in the table."""
    for name in ("own", "numbered", "adagrad", "still"):
        monkeypatch.setitem(OPTIMIZERS, name, Plugin(f"{__name__}:build_{name}"))


def arguments(name: str, **changes: Any) -> OptimArgs:
    return OptimArgs(**{"optimizer": name, "learning_rate": RATES.get(name, 1e-2), **changes})


def state_of(module: TrainingModule) -> dict[str, Any]:
    """What a checkpoint holds, through a file."""
    state = {
        "weights": module.model.state_dict(),
        "steps_done": module.steps_done,
        "steps_left_out": module.steps_left_out,
        "optimizer": cast(Any, module.optimizers()).optimizer.state_dict(),
        "precision": module.trainer.precision_plugin.state_dict(),
    }
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def go_on(state: dict[str, Any], optim: OptimArgs, strategy: str = "auto") -> tuple[TrainingModule, Watching]:
    """Train from a state to the end, in a model that was drawn otherwise."""
    plan, rest = make_plan(2), Watching()
    objective = build_objective(ObjectiveArgs(), toy_roles())
    model = build_toy("bert", dtype=torch.float64, dropout=True, seed=5)
    model.load_state_dict(state["weights"])
    module = TrainingModule(model, objective, optim, plan, "64-true")
    module.resume(state)
    steps = TrainingSteps(ROWS, plan.batches, objective, rank=0, world_size=1)
    loader: DataLoader[Any] = DataLoader(steps, batch_size=None, sampler=range(state["steps_done"], plan.total_steps))
    build_trainer(DEVICES, strategy, [rest]).fit(module, loader)
    return module, rest


def same_weights(one: TrainingModule, other: TrainingModule) -> bool:
    return all(a.equal(b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


@pytest.mark.parametrize("layer_decay", [1.0, 0.8])
@pytest.mark.parametrize("name", [*OPTIMIZERS_THERE, "own"])
def test_resuming_goes_on_bitwise_from_the_saved_state(name: str, layer_decay: float) -> None:
    optim, states = arguments(name, layer_decay=layer_decay), list[dict[str, Any]]()
    whole = Watching(lambda module: states.append(state_of(module)))
    trained = train(make_plan(2), whole, dropout=True, optim=optim)
    assert any(
        not a.equal(b) for a, b in zip(states[1]["weights"].values(), states[2]["weights"].values(), strict=True)
    )
    for done in (1, 2):
        module, rest = go_on(states[done - 1], optim)
        assert rest.sizes[0][1] == min(BATCH_SIZE * (done + 1), len(ROWS))
        assert rest.sums == whole.sums[done:]
        assert same_weights(module, trained)


def test_a_state_that_an_older_version_saved_goes_on_bitwise() -> None:
    """Its groups are those of torch's AdamW and no more, matrices first; nothing else counts the steps."""
    optim, states = arguments("adamw", on_nan="skip"), list[dict[str, Any]]()
    trained = train(make_plan(2), Watching(lambda module: states.append(state_of(module))), dropout=True, optim=optim)
    state = states[0]
    matrices, vectors = state["optimizer"]["param_groups"]
    assert matrices.keys() == vectors.keys() == torch.optim.AdamW([torch.zeros(1)]).param_groups[0].keys()
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (optim.weight_decay, 0.0)
    del state["steps_left_out"]
    module, _ = go_on(state, optim)
    assert same_weights(module, trained)
    assert module.steps_left_out == 0


@pytest.mark.parametrize("name", [*OPTIMIZERS_THERE, "own"])
def test_steps_left_out_are_counted_over_sessions(name: str) -> None:
    states: list[dict[str, Any]] = []
    train(make_plan(2), Watching(lambda module: states.append(state_of(module))), optim=arguments(name))
    module, _ = go_on({**states[0], "steps_left_out": 1}, arguments(name))
    assert module.steps_left_out == 1


def test_a_group_of_rate_0_does_not_move() -> None:
    start = build_toy("bert", dtype=torch.float64)
    trained = train(make_plan(2), Watching(), optim=arguments("still"))
    tables = embedding_tables(trained.model)
    for before, after in zip(start.parameters(), trained.model.parameters(), strict=True):
        assert before.equal(after) == (after in tables)


@pytest.mark.parametrize("layer_decay", [1.0, 0.8])
@pytest.mark.parametrize("name", [*OPTIMIZERS_THERE, "own", "numbered", "adagrad"])
def test_the_room_that_a_checkpoint_needs_is_known_before(name: str, layer_decay: float) -> None:
    optim, sizes = arguments(name, layer_decay=layer_decay), list[int]()
    train(
        make_plan(8), Watching(lambda module: sizes.append(checkpoint_bytes(module))), optim=optim, precision="32-true"
    )
    with torch.device("meta"):
        model = build_toy("bert")
    assert estimate_checkpoint_bytes(model, optim) == sizes[0] == sizes[-1]
    assert all(parameter.grad is None for parameter in model.parameters())
