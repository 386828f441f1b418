"""How a trained model is asked: the options of `generate.py` and of `dlib.generation.predictor.Predictor`.

They are no part of an experiment: nothing of a run depends on them.
"""

import math
from dataclasses import dataclass

from dlib.process.errors import UserError

MOST = {"top_k": 2**20, "max_new_tokens": 2**20, "num_beams": 2**10, "batch_size": 2**20}
"""More is a slip of the keyboard."""


@dataclass(frozen=True)
class GenerationArgs:
    """What is asked of a model, and how."""

    # masks: number of guesses for each (none: 5); text: draw from so many likeliest tokens (none: all)
    top_k: int | None = None
    # tokens after a prompt at most; none: 64, or half of what the model reads at once
    max_new_tokens: int | None = None
    # logits are divided by it before drawing; 0: take the likeliest token; none: 0.7, and 0 for beams
    temperature: float | None = None
    top_p: float = 0.9  # draw from the likeliest tokens that together have this probability
    num_beams: int = 1  # continuations that are searched side by side for the likeliest
    # of what is drawn. What is drawn for a line depends on it and on the line's number, and on nothing else
    seed: int = 1
    batch_size: int = 32  # lines that are computed together
    accelerator: str = "auto"  # kind of device, see `HardwareArgs`
    trust_remote_code: bool = False  # whether Python code that the model's folder brings may run

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for name, most in MOST.items():
            number = getattr(self, name)
            if number is not None and not 1 <= number <= most:
                raise UserError(f"--{name} {number}: give at least 1 and at most {most}")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top_p {self.top_p}: give more than 0 and at most 1")
        if self.temperature is not None and not 0 <= self.temperature < math.inf:
            raise UserError(f"--temperature {self.temperature}: give 0 or more")
        if self.num_beams > 1 and self.temperature:
            raise UserError(f"--num_beams {self.num_beams} draws nothing: leave --temperature out, or give 0")

    @property
    def drawing_temperature(self) -> float:
        """The temperature, 0 where nothing is drawn."""
        if self.temperature is not None:
            return self.temperature
        return 0.7 if self.num_beams == 1 else 0.0
