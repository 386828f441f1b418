"""Which network an objective needs: all that this room has to know of an objective."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Head:
    """What a network has on top, and how it is called."""

    auto_model: str  # name of the transformers class that builds or loads it, `AutoModelForMaskedLM` for one
    looks_back_only: bool = False  # whether no position may see what follows it; a network that does is refused
    forward_options: Mapping[str, Any] = field(default_factory=dict)  # further arguments of its forward pass
    # fields of its configuration, set in this order before it is built: `num_labels`, `id2label`, ...
    config_changes: Mapping[str, Any] = field(default_factory=dict)
