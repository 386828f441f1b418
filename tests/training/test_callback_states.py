"""What a callback keeps can be read back without unpickling code, or is refused before it is written."""

import io
import logging
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from dlib.process.errors import UserError
from dlib.process.ranks import logger
from dlib.training.callback_states import callback_states, load_callback_states


class Keeping(pl.Callback):
    """Keeps what it is given."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state = state_dict


def test_plain_states_come_back_and_empty_ones_are_left_out() -> None:
    state: dict[Any, Any] = {"sum": torch.tensor([1.5]), "best": [1, None, "a", (2.0, True)], 3: {"deep": b"x"}}
    states = callback_states([Keeping(state), pl.Callback()])
    file = io.BytesIO()
    torch.save(states, file)
    file.seek(0)
    back = Keeping({})
    load_callback_states([back, pl.Callback()], torch.load(file, weights_only=True))
    assert back.state == state
    assert list(states) == ["Keeping"]


@pytest.mark.parametrize(
    ("value", "named"), [(np.float64(1), "numpy.float64"), ({1, 2}, "builtins.set"), (pl.Callback(), "Callback")]
)
def test_what_could_not_be_read_back_is_refused_with_its_place(value: Any, named: str) -> None:
    with pytest.raises(UserError, match=rf"callback Keeping: state_dict\(\)\['a'\]\[1\] is of type \S*{named}"):
        callback_states([Keeping({"a": [0, value]})])


def test_a_state_of_a_callback_that_is_gone_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert logger().level == logging.INFO
    load_callback_states([pl.Callback()], {"Gone": {"a": 1}})
    assert "callback Gone" in capsys.readouterr().err
