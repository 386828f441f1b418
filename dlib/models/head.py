"""Which network an objective needs: all that this room has to know of an objective."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PretrainedConfig


@dataclass(frozen=True)
class Head:
    """What a network has on top, and how it is called."""

    auto_model: str  # name of the transformers class that builds or loads it, `AutoModelForMaskedLM` for one
    looks_back_only: bool = False  # whether no position may see what follows it; a network that does is refused
    forward_options: Mapping[str, Any] = field(default_factory=dict)  # further arguments of its forward pass
    # fields of its configuration, set in this order before it is built: `num_labels`, `id2label`, ...
    config_changes: Mapping[str, Any] = field(default_factory=dict)
    auto_models: Mapping[str, str] = field(default_factory=dict)  # another class for some, by their `model_type`

    def auto_model_of(self, config: PretrainedConfig) -> str:
        """Name of the transformers class for a model of such a configuration."""
        return self.auto_models.get(config.model_type, self.auto_model)
