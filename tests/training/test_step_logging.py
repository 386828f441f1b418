"""`self.log`: whose numbers go where, and what belongs to no step; the run's own files are in `tests/callbacks/`."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from dlib.process.errors import UserError
from dlib.training.trainer import refuse_unused_hooks
from dlib.training.training_module import TrainingModule
from tests.exactness.steps import Watching, make_plan, train


class Logging(pl.Callback):
    """Logs at a hook of Lightning's."""

    def __init__(self, hook: str, action: Callable[[Any], object]) -> None:
        setattr(self, hook, lambda *_: action(self))


def test_a_checkpoint_of_lightnings_is_refused() -> None:
    with pytest.raises(UserError, match=r"^trainer\.save_checkpoint: --save_interval"):
        train(make_plan(8), Watching(lambda module: module.trainer.save_checkpoint("x.ckpt")))


def test_what_is_logged_is_in_callback_metrics_at_once() -> None:
    seen: list[dict[str, float]] = []

    class Seeing(Watching):
        def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
            seen.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    logging = Logging("on_train_batch_end", lambda self: self.log_dict({"mine/a": 0.1, "mine/b": torch.ones(1, 1)}))
    train(make_plan(8), Seeing(), further=[logging])
    assert seen == [{"mine/a": 0.1, "mine/b": 1.0}] * 3, "not rounded to float32"


@pytest.mark.parametrize(
    ("hook", "options", "value"),
    [
        ("on_train_start", {}, 1.0),
        ("on_train_epoch_end", {}, 1.0),
        ("on_train_batch_end", {"on_epoch": True}, 1.0),
        ("on_train_batch_end", {}, torch.ones(2)),
        ("on_train_batch_end", {}, "much"),
    ],
)
def test_what_belongs_to_no_step_or_is_no_number_is_refused(hook: str, options: dict[str, Any], value: Any) -> None:
    with pytest.raises(UserError, match=r"^self\.log\('mine'\): "):
        train(make_plan(8), Watching(), further=[Logging(hook, lambda self: self.log("mine", value, **options))])


@pytest.mark.parametrize(
    ("hook", "instead"),
    [("validation_step", "objective"), ("test_step", r"eval\.py"), ("configure_callbacks", r"list in train\.py")],
)
def test_a_hook_that_is_never_called_names_what_to_use(hook: str, instead: str) -> None:
    own = type("Own", (TrainingModule,), {hook: lambda self, *_: None})
    with pytest.raises(UserError, match=rf"^Own\.{hook} is never called: .*{instead}"):
        refuse_unused_hooks(object.__new__(own), pl.LightningDataModule())
    refuse_unused_hooks(object.__new__(TrainingModule), pl.LightningDataModule())
