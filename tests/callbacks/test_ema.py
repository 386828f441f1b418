"""The average of the weights: what it is, where it is, and that training does not notice."""

import lightning.pytorch as pl
import torch

from dlib.callbacks.ema import EMA
from dlib.training.training_module import TrainingModule
from tests.exactness.steps import Watching, make_plan, train

DECAY = 0.15  # less than what the first steps would have by themselves, (1 + 1) / (10 + 1) = 0.18
Weights = list[torch.Tensor]


def weights(module: TrainingModule) -> Weights:
    return [parameter.detach().clone() for parameter in module.model.parameters()]


class Following(Watching):
    """Keeps the weights at the beginning and after each step: those that learn, and those that are kept."""

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        self.learning, self.kept = [weights(module)], [weights(module)]

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        super().after_step(trainer, module)
        with module.kept_weights():
            self.kept.append(weights(module))
        self.learning.append(weights(module))


def test_the_kept_weights_are_the_average_and_training_is_not_disturbed() -> None:
    plain, averaged = Following(), Following()
    train(make_plan(8), plain)
    train(make_plan(8), averaged, further=[EMA(DECAY)])
    for step, learning in enumerate(averaged.learning):
        assert all(map(torch.equal, learning, plain.learning[step]))
    for before, learning, kept in zip(averaged.kept, averaged.learning[1:], averaged.kept[1:], strict=False):
        for old, new, found in zip(before, learning, kept, strict=True):
            torch.testing.assert_close(found, DECAY * old + (1 - DECAY) * new, rtol=1e-12, atol=1e-14)
    assert all(map(torch.equal, plain.kept[-1], plain.learning[-1])), "without an average, what learns is kept"


def test_the_first_steps_forget_faster() -> None:
    following = Following()
    train(make_plan(8), following, further=[EMA(0.999)])
    first, second, found = following.kept[0][0], following.learning[1][0], following.kept[1][0]
    torch.testing.assert_close(found, first * (2 / 11) + second * (9 / 11), rtol=1e-12, atol=1e-14)


def test_the_state_is_what_learns_and_comes_back_into_a_model_that_holds_the_average() -> None:
    average, rest = EMA(0.5), Following()
    states: list[dict[str, torch.Tensor]] = []

    class Saving(Following):
        def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
            super().after_step(trainer, module)
            states.append({name: weight.clone() for name, weight in average.state_dict()["weights"].items()})

    whole = Saving()
    module = train(make_plan(8), whole, further=[average])
    names = [name for name, _ in module.model.named_parameters()]
    assert list(states[0]) == names
    assert all(map(torch.equal, states[0].values(), whole.learning[1]))
    again = EMA(0.5)
    again.load_state_dict({"weights": states[0]})
    train(make_plan(8), rest, further=[again])  # from other weights, which it takes for the average
    assert all(map(torch.equal, rest.learning[0], whole.learning[1]))
