"""One clear line for what OmegaConf says when a value cannot be worked out."""

import re

from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

MISSING_VARIABLE = re.compile(r"Environment variable '(?P<name>[^']*)' not found")
MISSING_KEY = re.compile(r"Interpolation key '(?P<name>[^']*)' not found")


def explain(error: OmegaConfBaseException, place: str) -> str:
    """The message for a value whose interpolation failed; `place` is the file and key, or the flag, of the value."""
    first_line = str(error).partition("\n")[0]
    if variable := MISSING_VARIABLE.search(first_line):
        name = variable["name"]
        return f"{place}: the environment variable {name} is not set: set it, or write ${{oc.env:{name},default}}"
    if isinstance(error, InterpolationKeyError) and (key := MISSING_KEY.search(first_line)):
        return f"{place}: there is no {key['name']} to refer to: write a full key such as ${{optim.learning_rate}}"
    if isinstance(error, UnsupportedInterpolationType) and "from_file" in first_line:
        return f"{place}: ${{from_file:...}} must be the whole value of a key"
    if isinstance(error, GrammarParseError):
        return f"{place}: this ${{ begins no reference that can be read: write \\${{ where it is plain text"
    if "Recursive interpolation" in first_line:
        return f"{place}: this refers to itself"
    return f"{place}: {first_line}"
