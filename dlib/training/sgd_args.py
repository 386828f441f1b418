"""The arguments of stochastic gradient descent."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class SgdArgs:
    """Its momentum."""

    sgd_momentum: float = setting(0.9, at_least=0, less_than=1)
    """sgd: share of the direction of the steps before that is kept; 0: none."""
    sgd_nesterov: bool = setting(False)
    """sgd: take the gradient's direction after the momentum's (Nesterov)."""
