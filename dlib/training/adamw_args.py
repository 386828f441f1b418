"""The arguments of AdamW."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class AdamWArgs:
    """AdamW's running means."""

    adam_beta1: float = setting(0.9, at_least=0, less_than=1)
    """adamw, muon: decay rate of AdamW's mean of gradients."""
    adam_beta2: float = setting(0.98, at_least=0, less_than=1)
    """adamw, muon: decay rate of AdamW's mean of squared gradients."""
    adam_epsilon: float = setting(1e-6, more_than=0)
    """adamw, muon: AdamW's term against division by zero."""
