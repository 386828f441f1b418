"""Numbers that are not finite (NaN, infinities): which came first, in words, and the error that ends a training.

A loss or a gradient that is not finite is what is seen. What it comes from is looked for only then: weights that are
not finite make every later loss so.
"""

import math

import torch
from torch import nn

from dlib.process.errors import TrainingError
from dlib.training.shards import whole

MOST_STEPS_LEFT_OUT = 20
"""In a row, with `--on_nan skip`: data may spoil a step now and then, and so many only a model that has diverged."""
RATE_ADVICE = "lower --learning_rate or lengthen --warmup"


class NonFiniteError(TrainingError):
    """Numbers of a step are not finite, and the run is to stop.

    Attributes:
        step: the optimizer step, counted from 1.
        cause: what is not finite.
        advice: what a user can do.
    """

    def __init__(self, step: int, cause: str, advice: str) -> None:
        """Keep the three, and tell them."""
        super().__init__(f"step {step}: {cause}; {advice}")
        self.step = step
        self.cause = cause
        self.advice = advice


def refuse_non_finite_weights(model: nn.Module, step: int) -> None:
    """Refuse weights and buffers that are not finite, at an optimizer step that is done or being done, from 1 on.

    Raises:
        NonFiniteError: there are some.
    """
    for name, tensor in model.state_dict(keep_vars=True).items():
        # Of a weight that DeepSpeed has cut nothing is in its place, and nothing is finite.
        held = whole(tensor) if hasattr(tensor, "ds_id") else tensor
        if held.is_floating_point() and not whole(torch.isfinite(held).all()):
            raise NonFiniteError(step, f"weights are no longer finite, first {name}", RATE_ADVICE)


def name_cause(loss: float, gradient_norm: float) -> str:
    """What is not finite in a step whose weights are."""
    if not math.isfinite(loss):
        return f"the loss is {loss}, with finite weights"
    return f"the gradient's norm is {gradient_norm}, with finite weights and a loss of {loss:.4g}"
