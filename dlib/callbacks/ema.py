"""Keep an exponential moving average of the weights, which is what is evaluated and saved as the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.training.shards import shard_as
from dlib.training.training_module import TrainingModule


class EMA(StepCallback):
    """Averages the weights that learn, after each optimizer step: average = decay * average + (1 - decay) * weight.

    Those of the objective's own networks, too, as the model is evaluated with them.

    Source: Polyak and Juditsky 1992, with exponential weights as in Kingma and Ba 2015 (Adam), section 7.2. The decay
    grows with the steps done, min(decay, (1 + steps) / (10 + steps)), as in `tf.train.ExponentialMovingAverage`, so
    that the weights of the beginning are soon forgotten.

    `model/` of a checkpoint holds the average, which is what was evaluated; `state.ckpt` the weights that learn, from
    which a resume goes on.
    """

    place = Place.WEIGHTS

    def __init__(self, decay: float) -> None:
        """Forget at the rate `1 - decay` a step; 0 < decay < 1."""
        self.decay = decay
        self._resumed: dict[str, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The weights that learn, by name; outside of `kept_weights` the model has them."""
        return {"weights": {name: parameter.detach() for name, parameter in self._learning.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the weights that learn; the model was loaded with their average."""
        self._resumed = state_dict["weights"]

    @torch.no_grad()
    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Begin with the weights as they are, or where the checkpoint was."""
        named = {name.removeprefix("model."): weight for name, weight in module.named_parameters()}
        self._learning: dict[str, nn.Parameter] = {name: named[name] for name in named if named[name].requires_grad}
        self._averages = {name: weight.detach().clone() for name, weight in self._learning.items()}
        for name, weight in (self._resumed or {}).items():
            self._learning[name].copy_(shard_as(weight, self._learning[name]))
        self._resumed = None
        module.kept_weights = self._swapped

    @torch.no_grad()
    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Move the average on."""
        steps = module.steps_done
        decay = min(self.decay, (1 + steps) / (10 + steps))
        for name, average in self._averages.items():
            average.lerp_(self._learning[name], 1 - decay)

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange values and not tensors, whose places the optimizer, DDP and compiled code know."""
        for name, average in self._averages.items():
            weight = self._learning[name].detach().clone()
            self._learning[name].copy_(average)
            average.copy_(weight)
