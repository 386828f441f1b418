"""Why a run ended before its goal; `test_own_callbacks.py` has several processes, `tests/exactness/` the signals."""

from typing import Any

import lightning.pytorch as pl
import pytest

from dlib.callbacks.stopping import Stopping
from dlib.process.errors import UserError
from tests.exactness.steps import Watching, make_plan, train


class Ending(pl.Callback):
    """Ends the training at a hook of Lightning's."""

    def __init__(self, hook: str, message: str | None = None) -> None:
        setattr(self, hook, self.end)
        self.stopping_reason_message = message

    def end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.should_stop = True


@pytest.mark.parametrize(
    ("message", "told"),
    [("it is good enough.", "Ending: it is good enough"), (None, "a callback that set trainer.should_stop")],
)
def test_the_reason_is_what_the_callback_says(message: str | None, told: str) -> None:
    stopping = Stopping(None, 0.0)
    module = train(make_plan(8), Watching(), further=[Ending("on_train_batch_end", message), stopping])
    assert (module.steps_done, stopping.stopped) == (1, False)
    assert stopping.state_dict() == {"reason": f"stopped after step 1 by {told}"}


def test_the_goal_needs_no_reason() -> None:
    stopping = Stopping(None, 0.0)
    train(make_plan(8, total_samples=8), Watching(), further=[Ending("on_train_batch_end"), stopping])
    assert stopping.state_dict() == {}


@pytest.mark.parametrize(
    "further",
    [
        [Ending("on_train_start"), Stopping(None, 0.0)],
        [Stopping(None, 0.0), Ending("on_train_batch_end")],
    ],
    ids=["before the first step", "after the processes agreed"],
)
def test_an_end_where_nothing_is_saved_is_refused(further: list[pl.Callback]) -> None:
    with pytest.raises(UserError, match=r"^the training was ended after step [01], where nothing is saved"):
        train(make_plan(8), Watching(), further=further)
