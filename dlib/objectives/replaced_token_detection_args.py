"""The arguments of replaced token detection."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class ReplacedTokenDetectionArgs:
    """What is added up, and how large the generator is."""

    discriminator_weight: float = setting(50.0, at_least=0)
    """replaced_token_detection: weight of the model's own loss; the generator's has 1."""
    generator_width: float | None = setting(None, more_than=0, at_most=1)
    """replaced_token_detection: the generator's share of the model's attention heads, and so of its width. Default:
    0.25 where word embeddings have a size of their own (electra, convbert); else 1, and no other."""
    generator_depth: float | None = setting(None, more_than=0, at_most=1)
    """replaced_token_detection: the generator's share of the model's layers. Default: 1 beside a generator that is
    narrower than the model, else 0.5."""
