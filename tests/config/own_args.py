"""Arguments of every kind, which `test_kinds.py` puts in the place of an objective's."""

from dataclasses import dataclass
from typing import Literal, Optional

from dlib.args.fields import setting


@dataclass
class FocalArgs:
    """A nested group."""

    gamma: float = setting(2.0, at_least=0)
    """How much easy targets are weighed down."""


@dataclass
class MlmArgs:
    """Arguments of every kind."""

    mask_fraction: float = setting(0.15)
    whole_word_masking: bool = setting(False)
    rates: list[float] = setting([0.1, 0.2], at_least=0)
    """Rates of the layers."""
    mode: Literal["sum", "mean"] = setting("sum")
    level: Literal[1, 2, 4] = setting(1)
    perhaps: Optional[Literal["a", "b"]] = setting(None)  # noqa: UP045 - as people write it
    label_weights: dict[str, float] = setting({"good": 1.0}, at_least=0)
    """Weights by label."""
    label_names: dict[str, str] = setting({})
    layers: list[int] | None = setting(None, at_least=0)
    plain: int = 3
    written: "float | None" = 2.5
    focal: FocalArgs = setting(FocalArgs())
