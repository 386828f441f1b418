"""The optimizers' own arguments, which join the section `optim`; without torch, because `--help` reads them."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class AdamWArgs:
    """AdamW's running means; Muon, too, leaves to it what it does not move itself."""

    adam_beta1: float = setting(0.9, at_least=0, less_than=1)
    """adamw, muon: decay rate of AdamW's mean of gradients."""
    adam_beta2: float = setting(0.98, at_least=0, less_than=1)
    """adamw, muon: decay rate of AdamW's mean of squared gradients."""
    adam_epsilon: float = setting(1e-6, more_than=0)
    """adamw, muon: AdamW's term against division by zero."""


@dataclass
class SgdArgs:
    """Momentum of stochastic gradient descent."""

    sgd_momentum: float = setting(0.9, at_least=0, less_than=1)
    """sgd: share of the direction of the steps before that is kept; 0: none."""
    sgd_nesterov: bool = setting(False)
    """sgd: take the gradient's direction after the momentum's (Nesterov)."""


@dataclass
class AdafactorArgs:
    """Adafactor's running means, and how far a step may go."""

    adafactor_beta2_decay: float = setting(-0.8, at_most=0)
    """adafactor: at step t, the mean of squared gradients decays at the rate 1 - t^this."""
    adafactor_clip: float = setting(1.0, at_least=1)
    """adafactor: a weight's update is scaled down to this root mean square."""


@dataclass
class MuonArgs:
    """Muon's momentum."""

    muon_momentum: float = setting(0.95, at_least=0, less_than=1)
    """muon: decay rate of the mean of gradients."""
