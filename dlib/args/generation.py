"""How a trained model is asked: the options of `generate.py` and of `dlib.generation.predictor.Predictor`.

They are no part of an experiment: nothing of a run depends on them. More than `MOST` is a slip of the keyboard.
"""

from dataclasses import dataclass, fields

from dlib.args.fields import facts_of, setting
from dlib.process.errors import UserError

MOST = 2**20


@dataclass(frozen=True)
class GenerationArgs:
    """What is asked of a model, and how. What is drawn depends on the seed and the numbers of line and sample alone."""

    seed: int = 1
    """Seed of what is drawn."""
    batch_size: int = setting(32, at_least=1, at_most=MOST)
    """Lines computed together; with 1 each is answered before the next is read."""
    accelerator: str = setting("auto", choices=("auto", "cpu", "cuda", "gpu", "mps"))
    """Kind of device; auto takes CUDA, else MPS, else the CPU."""
    top_k: int | None = setting(None, at_least=1, at_most=MOST)
    """Masks: guesses for each, seen with --json (default: 5). Text: draw from the N likeliest tokens only."""
    trust_remote_code: bool = False
    """Run Python code that the model's folder brings: read it first."""
    max_new_tokens: int | None = setting(None, at_least=1, at_most=MOST)
    """Text: tokens after a line at most (default: 64, or half of what the model reads at once; seq2seq: 128)."""
    temperature: float | None = setting(None, at_least=0, at_most=MOST)
    """Text: lower is safer, higher is wilder; 0 takes the likeliest token always (default: 0.7, and 0 for beams)."""
    top_p: float = setting(0.9, more_than=0, at_most=1)
    """Text: draw from the likeliest tokens that together have this probability."""
    samples: int = setting(1, at_least=1, at_most=MOST)
    """Text: continuations of each line, drawn apart; the first is the one that there is without it."""
    num_beams: int = setting(1, at_least=1, at_most=2**10)
    """Text: search N beams for a likely one; draws nothing."""
    scores: bool = False
    """Labels and answers: with their probabilities beside them; seq2seq: with the mean log-probability of a token."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for field in fields(self):
            number, facts = getattr(self, field.name), facts_of(field)
            if facts.range and number is not None and not facts.accept(number):
                raise UserError(f"--{field.name} {number}: give {facts.range}")
        if self.num_beams > 1 and self.temperature:
            raise UserError(f"--num_beams {self.num_beams} draws nothing: leave --temperature out, or give 0")
        if self.samples > 1 and (self.top_k == 1 or not self.drawing_temperature):
            greedy = "--num_beams" if self.num_beams > 1 else "--top_k 1" if self.top_k == 1 else "--temperature 0"
            raise UserError(
                f"--samples {self.samples}: with {greedy} nothing is drawn, and all are the same; leave it out"
            )

    @property
    def drawing_temperature(self) -> float:
        """The temperature, 0 where nothing is drawn."""
        if self.temperature is not None:
            return self.temperature
        return 0.7 if self.num_beams == 1 else 0.0
