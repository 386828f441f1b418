"""One optimizer step: dropout by key, clipping, and going on; `tests/exactness/test_gradients.py` has its gradient."""

import signal
from pathlib import Path
from types import FrameType

import lightning.pytorch as pl
import pytest
import torch

from dlib.args import ObjectiveArgs, OptimArgs
from dlib.data.steps import EvaluationBatches, TrainingSteps
from dlib.objectives import build_objective
from dlib.training.devices import Devices
from dlib.training.evaluation import evaluate
from dlib.training.training_module import TrainingModule
from tests.exactness.steps import ROWS, Watching, make_plan, train
from tests.toys import ListRows, toy_roles

pytestmark = pytest.mark.oldest

DEVICES = Devices("cpu", (0,), 1, "64-true", ("CPU process",))


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
    rows = ListRows([ROWS.sample(0).ids] * 8)
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


def test_a_checkpoint_of_lightning_that_lies_about_is_not_loaded_in_a_slurm_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"whatever")
    monkeypatch.chdir(tmp_path)
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "job"}.items():
        monkeypatch.setenv(name, value)
    trained = train(make_plan(8), Watching())
    assert trained.steps_done == trained.plan.total_steps


def test_the_trainer_leaves_signals_to_whoever_took_them() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def ours(number: int, frame: FrameType | None) -> None: ...

    signal.signal(signal.SIGTERM, ours)
    try:
        train(make_plan(8), Watching(lambda module: found.append(signal.getsignal(signal.SIGTERM))))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == [ours] * 3
