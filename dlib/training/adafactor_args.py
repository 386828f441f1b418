"""The arguments of Adafactor."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class AdafactorArgs:
    """Its running means, and how far a step may go."""

    adafactor_beta2_decay: float = setting(-0.8, at_most=0)
    """adafactor: at step t, the mean of squared gradients decays at the rate 1 - t^this."""
    adafactor_clip: float = setting(1.0, at_least=1)
    """adafactor: a weight's update is scaled down to this root mean square."""
