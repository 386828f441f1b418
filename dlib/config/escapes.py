"""Texts that stay as they are, though OmegaConf would read more into them."""

import re
from typing import Any

# A `${` and the backslashes before it, which OmegaConf reads as escapes.
INTERPOLATION_START = re.compile(r"(\\*)\$\{")
# A `???`, which OmegaConf reads as a value still to be given, with the backslashes that take this meaning away.
MISSING_MARK = re.compile(r"\\*\?\?\?")


def escaped(value: Any) -> Any:
    """A value in which a text's `${` is no interpolation, and a text `???` no missing value."""
    if isinstance(value, dict):
        return {name: escaped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if not isinstance(value, str):
        return value
    if MISSING_MARK.fullmatch(value):
        return "\\" + value
    return INTERPOLATION_START.sub(r"\1\1\\${", value)


def has_interpolation(text: str) -> bool:
    """Whether a text has a `${` that is not escaped."""
    return any(len(start[1]) % 2 == 0 for start in INTERPOLATION_START.finditer(text))
