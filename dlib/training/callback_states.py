"""What callbacks keep from step to step, on its way into a checkpoint and back.

It stands apart from the checkpoint's files because a callback may be anybody's, and its state anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch

from dlib.process.errors import UserError
from dlib.process.ranks import logger
from dlib.training.shards import CONTAINERS, whole_state

PLAIN = (type(None), bool, int, float, str, bytes)


def callback_states(callbacks: Sequence[pl.Callback]) -> dict[str, Any]:
    """What `state_dict` of each callback returns, by its `state_key`; those that keep nothing are left out.

    The first process alone asks when it saves: a state has to be the same in all processes, and to exchange nothing.
    Where weights are in shards all of them ask, and tensors in shards become whole.

    Raises:
        UserError: a state holds something that cannot be read back without unpickling code.
    """
    states = {callback.state_key: whole_state(callback.state_dict()) for callback in callbacks}
    for key, state in states.items():
        refuse_unreadable(state, f"callback {key}: state_dict()")
    return {key: state for key, state in states.items() if state}


def refuse_unreadable(value: Any, place: str) -> None:
    """Refuse what `torch.load(weights_only=True)` would not read, before it is a checkpoint."""
    if type(value) in CONTAINERS:
        named = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, part in named:
            refuse_unreadable(name, f"{place}: the key {name!r}")
            refuse_unreadable(part, f"{place}[{name!r}]")
    elif type(value) not in (*PLAIN, torch.Tensor, torch.nn.Parameter):
        raise UserError(
            f"{place} is of type {type(value).__module__}.{type(value).__name__}, which a checkpoint cannot hold: keep "
            "tensors, numbers, texts, and lists, tuples or dicts of them"
        )


def load_callback_states(callbacks: Sequence[pl.Callback], states: Mapping[str, Any]) -> None:
    """Hand each callback what a checkpoint has of it; say so where there is nobody to take a state."""
    by_key = {callback.state_key: callback for callback in callbacks}
    for key, state in states.items():
        if key in by_key:
            by_key[key].load_state_dict(state)
        else:
            logger().warning("the checkpoint has the state of callback %s, which is not there any more: dropped", key)
