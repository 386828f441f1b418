"""A field as a flag: its names, what argparse is told of it, and its value from the words that were typed.

It stands apart from `command_line.py` because `eval.py` has some of these flags in a parser of its own.
"""

import argparse
from collections.abc import Mapping
from typing import Any, get_origin

from dlib.args.fields import facts_of
from dlib.config.fields import FIELDS, KINDS, bare_type, choices_of, flag_of, has_many, is_optional, text_of
from dlib.process.errors import UserError


def flags_of(key: str) -> list[str]:
    """The flag of a full key, after a short one."""
    return [*filter(None, [facts_of(FIELDS[key]).alias]), flag_of(key)]


def flag_options(key: str, default: str = "") -> dict[str, Any]:
    """What argparse is told about the flag of a full key: its text, choices, and default."""
    field = FIELDS[key]
    choices = ", ".join(map(str, choices_of(field)))
    if isinstance(meanings := facts_of(field).choices, Mapping):
        choices = ", ".join(f"{choice} ({meaning})" for choice, meaning in meanings.items())
    options = {
        "dest": key,
        "default": argparse.SUPPRESS,
        "metavar": "CHOICE" if choices else KINDS[bare_type(field)].metavar,
        "help": (text_of(key) + f" One of: {choices}." * bool(choices) + default).replace("%", "%%"),
    }
    return options | ({"nargs": "?", "const": "true"} if bare_type(field) is bool else {})


def shown_value(default: Any) -> str:
    """A default as it would be typed."""
    if isinstance(default, dict):
        default = [f"{name}={value}" for name, value in default.items()]
    if isinstance(default, list):
        return " ".join(map(str, default)) or "empty"
    return str(default).lower() if default is None or isinstance(default, bool) else str(default)


def split_value(key: str, value: Any) -> Any:
    """A flag's words as the field's value: elements may be separated by spaces or commas, `NAME=VALUE` in a dict.

    Raises:
        UserError: an element of a dict has no name.
    """
    field = FIELDS[key]
    if not has_many(field):
        return value
    if is_optional(field) and value in (["none"], ["null"]):
        return None
    keeps_commas = facts_of(field).keeps_commas
    elements = [part for word in value for part in ([word] if keeps_commas else word.split(",")) if part]
    if get_origin(bare_type(field)) is list:
        return elements
    for element in elements:
        if "=" not in element:
            raise UserError(f"{flag_of(key)}: {element!r} has no name: write {KINDS[bare_type(field)].metavar}")
    return {name: part for name, _, part in (element.partition("=") for element in elements)}
