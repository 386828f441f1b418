"""Numbers that are not finite stop a run, or a step; what is told is what was wrong, and what is saved is good."""

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from dlib.args import ObjectiveArgs, OptimArgs
from dlib.callbacks.anomalies import FEWEST_LOSSES, Anomalies, is_spike
from dlib.callbacks.recording import Recording
from dlib.data.steps import TrainingSteps
from dlib.objectives import build_objective
from dlib.process.versions import has
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import MetricsLog, read_metrics
from dlib.runs.paths import CheckpointFolder
from dlib.runs.session import recorded_args
from dlib.tracking.run_log import RunLog
from dlib.training.devices import Devices
from dlib.training.non_finite import MOST_STEPS_LEFT_OUT, NonFiniteError
from dlib.training.trainer import build_trainer
from dlib.training.training_module import TrainingModule
from tests.exactness.ranks import train_ranks
from tests.exactness.steps import ROWS, Watching, make_plan, train
from tests.launching import SMALL_MODEL, Place
from tests.launching import train as train_run
from tests.toys import OPTIMIZERS_THERE, build_toy, toy_roles, train_wordpiece

MLM = build_objective(ObjectiveArgs(), toy_roles())
State = tuple[dict[str, torch.Tensor], list[dict[str, Any]]]


class Poisoning(Watching):
    """Makes the gradient of the second step NaN before it is looked at; keeps weights and optimizer after each step."""

    def __init__(self, value: float = math.nan, *, for_good: bool = False) -> None:
        """Put `value` into the gradient; with `for_good`, into those of all further steps."""
        super().__init__()
        self.value = value
        self.for_good = for_good
        self.states: list[State] = []
        self.counts: list[int] = []

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Poison one weight's gradient, before a loss scale is taken from it."""
        if len(self.states) == 1 or (self.states and self.for_good):
            next(p for p in pl_module.parameters() if p.grad is not None).grad.view(-1)[0] = self.value  # type: ignore[union-attr]

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Keep what the step left."""
        optimizer = trainer.optimizers[0]
        weights = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
        moments = [{name: v.clone() for name, v in state.items()} for state in optimizer.state.values()]
        self.states.append((weights, moments))
        self.counts.append(module.steps_left_out)


def equal(one: State, other: State) -> bool:
    """Whether weights and optimizer are the same bits."""
    return all(one[0][name].equal(other[0][name]) for name in one[0]) and all(
        a[name].equal(b[name]) for a, b in zip(one[1], other[1], strict=True) for name in a
    )


def test_a_gradient_that_is_not_finite_stops_before_it_changes_a_weight() -> None:
    poisoning = Poisoning(math.inf)
    with pytest.raises(NonFiniteError, match=r"step 2: the gradient's norm is inf, with finite weights and a loss of"):
        train(make_plan(4), poisoning, optim=OptimArgs())
    assert len(poisoning.states) == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS_THERE)
def test_skip_leaves_the_update_out_and_counts_the_step(optimizer: str) -> None:
    poisoning = Poisoning()
    train(make_plan(4), poisoning, optim=OptimArgs(on_nan="skip", optimizer=optimizer))
    first, second, third = poisoning.states
    assert equal(first, second)
    assert not equal(second, third)
    assert poisoning.counts == [0, 1, 1]


def test_skip_ends_where_no_step_can_be_better() -> None:
    poisoning = Poisoning(for_good=True)
    with pytest.raises(NonFiniteError, match=rf"step {MOST_STEPS_LEFT_OUT + 2}: .* left out in a row; lower"):
        train(make_plan(4, total_samples=8 * 2 * MOST_STEPS_LEFT_OUT), poisoning, optim=OptimArgs(on_nan="skip"))
    assert poisoning.counts[-1] == MOST_STEPS_LEFT_OUT


def test_ignore_goes_on() -> None:
    poisoning = Poisoning()
    train(make_plan(4), poisoning, optim=OptimArgs(on_nan="ignore"))
    assert any(tensor.isnan().any() for tensor in poisoning.states[-1][0].values())


def with_infinite_weight(module: TrainingModule) -> None:
    next(module.model.parameters()).data.view(-1)[0] = math.inf


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_weights_that_are_not_finite_are_named_and_skipping_does_not_help(on_nan: str) -> None:
    with pytest.raises(NonFiniteError, match=r"step 2: weights are no longer finite, first bert\.embeddings"):
        train(make_plan(4), Watching(with_infinite_weight), optim=OptimArgs(on_nan=on_nan))


@pytest.mark.skipif(not has({"torch": "2.3"}), reason="this torch scales on CUDA alone")
@pytest.mark.parametrize("optimizer", OPTIMIZERS_THERE)
@pytest.mark.parametrize("scale", [2.0**16, 0.5])
def test_overflow_of_a_scaled_gradient_is_left_to_the_scaler(scale: float, optimizer: str) -> None:
    class Scaled(Poisoning):
        def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
            trainer.precision_plugin.scaler = torch.amp.GradScaler("cpu", init_scale=scale)  # type: ignore[attr-defined]

    overflowing, optim = Scaled(math.inf), OptimArgs(optimizer=optimizer)
    if scale < 1:  # what overflows then does so of itself
        with pytest.raises(NonFiniteError, match="gradient's norm is inf"):
            train(make_plan(4), overflowing, optim=optim, precision="16-mixed")
    else:
        train(make_plan(4), overflowing, optim=optim, precision="16-mixed")
        assert equal(*overflowing.states[:2])
        assert overflowing.counts == [0, 1, 1]


def test_a_spike_is_far_above_the_losses_before() -> None:
    falling = [5 - 0.02 * step for step in range(FEWEST_LOSSES)]
    assert is_spike(8.0, falling)
    assert not is_spike(5.1, falling)
    assert not is_spike(math.nan, falling)
    assert not is_spike(8.0, falling[1:]), "too few"
    assert not is_spike(3.1, [3.0] * FEWEST_LOSSES), "a ripple on a plateau"


@pytest.mark.parametrize("is_left_out", [False, True])
def test_a_spike_is_written_down_with_its_samples_as_in_a_run_that_was_not_resumed(
    tmp_path: Path, is_left_out: bool
) -> None:
    folder = RunFolder(tmp_path)
    earlier = MetricsLog(folder.metrics)
    for step in range(1, FEWEST_LOSSES + 1):
        earlier.add(step, {"train/loss": 0.1})
    earlier.flush()
    plan, run_log = make_plan(4, total_samples=8 * (FEWEST_LOSSES + 1)), RunLog(folder)
    anomalies = Anomalies(folder, ROWS, train_wordpiece(), run_log)
    module = TrainingModule(build_toy("bert"), MLM, OptimArgs(on_nan="skip"), plan, "32-true")
    if is_left_out:
        next(module.model.parameters()).register_hook(lambda gradient: gradient * math.inf)
    steps = TrainingSteps(ROWS, plan.batches, MLM, rank=0, world_size=1)
    loader: DataLoader[Any] = DataLoader(steps, batch_size=None, sampler=[FEWEST_LOSSES])
    devices = Devices("cpu", (0,), 1, "32-true", ("CPU process",))
    build_trainer(devices, "auto", [Recording(run_log), anomalies]).fit(module, loader)
    (record,) = read_metrics(folder.anomalies)
    assert record["step"] == FEWEST_LOSSES + 1
    assert record["cause"].endswith("where it was 0.1 before")
    assert record["cause"].startswith("the step's update is left out: ") == is_left_out
    assert [sample["sample"] for sample in record["samples"]] == plan.batches.step_samples(FEWEST_LOSSES)[1].tolist()
    assert all(sample["text"] for sample in record["samples"])


def test_a_run_of_nan_stops_as_failed_and_goes_on_from_what_is_good(place: Place, tmp_path: Path) -> None:
    folder = place.folder("run")
    arguments = place.arguments("run", "--training_goal", "8", "--save_interval", "1", "--learning_rate", "9e18")
    result = train_run(arguments, tmp_path)
    assert (result.status, result.stdout) == (1, "")
    status = folder.read_status()
    assert status is not None
    assert status.state == "failed"
    assert status.reason is not None
    assert result.last_line == f"error: {status.reason}"
    assert status.reason.endswith(f"checkpoints: the last one with finite weights is {folder.checkpoint(status.step)}")
    assert folder.pointed_step("last") == status.step < 8
    weights = load_file(CheckpointFolder(folder.last).model / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    (record,) = read_metrics(folder.anomalies)
    assert (record["step"], len(record["samples"])) == (status.step + 1, 8)
    assert folder.anomalies.name in folder.log.read_text()
    again = train_run([*arguments, "--on_nan", "ignore"], tmp_path)
    assert again.status == 0, again.stderr
    assert recorded_args(folder).optim.on_nan == "ignore"  # type: ignore[union-attr]
    back = train_run(arguments, tmp_path)
    assert (back.status, "on_nan was 'ignore'" in back.stderr) == (2, True)


def test_no_run_begins_from_weights_that_are_not_finite(place: Place, tmp_path: Path) -> None:
    assert train_run(place.arguments("first", "--training_goal", "1"), tmp_path).status == 0
    model = CheckpointFolder(place.folder("first").last).model
    weights = load_file(model / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] = math.inf
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    arguments = place.arguments("second", "--from_scratch", "false", "--checkpoint", str(model), "--on_nan", "skip")
    result = train_run([word for word in arguments if word not in ("--model_overrides", *SMALL_MODEL)], tmp_path)
    assert result.status == 2
    assert result.last_line.startswith(f"error: --checkpoint {model}: its weights ")
    assert "are NaN or infinite" in result.last_line
    assert not place.folder("second").root.exists()


@pytest.mark.parametrize("world_size", [2])
def test_every_process_ends_where_one_has_numbers_that_are_not_finite(
    place: Place, tmp_path: Path, world_size: int
) -> None:
    arguments = place.arguments("run", "--training_goal", "8", "--learning_rate", "9e18")
    results = train_ranks(arguments, world_size, tmp_path)
    assert [result.status for result in results] == [1, 0]
    assert sum(result.stderr.count("error: ") for result in results) == 1
