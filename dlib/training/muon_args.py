"""The arguments of Muon; the weights that it leaves to AdamW take those of AdamW."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class MuonArgs:
    """Its momentum."""

    muon_momentum: float = setting(0.95, at_least=0, less_than=1)
    """muon: decay rate of the mean of gradients."""
