"""What `--model_overrides` changes in a model's configuration, and what it may not say.

It stands apart because transformers takes most of what is wrong here without a word, or says it later in a way that
does not lead back to the flag.
"""

import re
from collections.abc import Sequence
from typing import Any

import yaml
from transformers import PretrainedConfig
from transformers.activations import ACT2FN

from dlib.config.spelling import did_you_mean
from dlib.models.hub import reason_of
from dlib.models.pretrained import config_fields
from dlib.process.errors import UserError

SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
"""Numbers such as 1e-5, which YAML takes for text."""
COUNT = re.compile(r"(num|n)_\w+|\w*_size|max_position_embeddings")
"""Fields that count something that a model cannot do without."""


def override_config(config: PretrainedConfig, source: str, overrides: Sequence[str]) -> PretrainedConfig:
    """The configuration with the overrides, built again: some fields are worked out from others when it is built.

    Raises:
        UserError: an override names no field, or the model cannot be built with its value.
    """
    changes = dict(parse_override(override, config) for override in overrides)
    fields = config_fields(source)
    try:
        changed = type(config)(**{**fields, **changes})
    except Exception as error:  # transformers raises whatever a model's own code raises
        raise UserError(f"--model_overrides {' '.join(overrides)}: {reason_of(error)}") from error
    changed.name_or_path = config.name_or_path  # where code of the model's own is looked for
    return changed


def parse_override(text: str, config: PretrainedConfig) -> tuple[str, Any]:
    """Split `hidden_size=256` into a field of the configuration and its value, read as YAML.

    Raises:
        UserError: it is not of that form, the configuration has no such field, or the value cannot be the field's.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--model_overrides {text}: write field=value, as in hidden_size=256")
    fields = sorted({*config.to_dict(), *config.attribute_map})
    if name not in fields:
        hint = did_you_mean(name, fields)
        raise UserError(f"--model_overrides {text}: {type(config).__name__} has no field {name}{hint}")
    try:
        parsed = float(value) if SCIENTIFIC.fullmatch(value) else yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--model_overrides {text}: {value} is not YAML; quote text that looks like a list") from error
    check_value(text, name, getattr(config, name, None), parsed)
    return config.attribute_map.get(name, name), parsed


def check_value(text: str, name: str, current: Any, value: Any) -> None:
    """Refuse a value that transformers would take here, and fail with, or not, when the model is built.

    The `current` one is the model's own. Where that is below 1 itself, the override may be too.
    """
    if COUNT.fullmatch(name) and type(current) is int and type(value) is not int:
        raise UserError(f"--model_overrides {text}: {name} must be a whole number")
    is_below = [type(number) is int and number < 1 for number in (current, value)]
    if COUNT.fullmatch(name) and is_below == [False, True]:
        raise UserError(f"--model_overrides {text}: {name} must be at least 1")
    if "act" in name and current in [*ACT2FN] and value not in [*ACT2FN]:
        hint = did_you_mean(str(value), ACT2FN) or "; gelu, relu and silu are some"
        raise UserError(f"--model_overrides {text}: transformers has no activation function {value}{hint}")
