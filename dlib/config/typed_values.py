"""Settings as values of the fields' types, with interpolations worked out: OmegaConf's part of a configuration.

It is imported when a configuration is read: a help and a wrong flag do not wait for OmegaConf.
"""

from collections.abc import Mapping
from dataclasses import fields, make_dataclass
from functools import cache, reduce
from operator import getitem
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException, ValidationError

from dlib.args import ExperimentArgs
from dlib.args.fields import facts_of
from dlib.config.escapes import MISSING_MARK
from dlib.config.fields import FIELDS, GROUPS, bare_type, is_optional, kind_of
from dlib.config.files import Setting, explain_interpolation
from dlib.process.errors import UserError, quoted
from dlib.process.versions import unescapes_missing_mark

# OmegaConf also takes numbers as booleans, which hides typing errors.
BOOLEAN_WORDS = ("true", "false", "yes", "no", "on", "off")


def resolve(settings: Mapping[str, Setting], places: Mapping[str, str]) -> dict[str, Any]:
    """The value of each field by its full key: that of its setting, else its default.

    Args:
        settings: fields and variables by full key.
        places: for each field, what an error names.

    Raises:
        UserError: a value is not of its field's type, or refers to nothing; the message names its place.
    """
    config = typed_defaults()
    for setting in settings.values():
        (assign if setting.key in FIELDS else assign_variable)(config, setting)
    return {key: resolved_value(config, key, place) for key, place in places.items()}


def typed_defaults() -> Any:
    """The defaults as OmegaConf's own configuration, which reads texts by the types of the fields.

    Raises:
        UserError: a default is not of its field's type.
    """
    try:
        return OmegaConf.structured(readable_defaults())
    except ValidationError as error:
        raise UserError(f"{error.full_key}: its default in the code is not of the field's type") from error


@cache
def readable_defaults() -> Any:
    """The defaults, kept: making classes takes as long as all the rest."""
    return readable("", ExperimentArgs())


def readable(key: str, group: Any) -> Any:
    """A group of arguments with the types that OmegaConf knows: it has no `Literal`."""
    kinds: dict[str, Any] = {}
    values = {declared.name: getattr(group, declared.name) for declared in fields(group)}
    for declared in fields(group):
        name, own_key = declared.name, f"{key}.{declared.name}".lstrip(".")
        if own_key in GROUPS:
            values[name] = readable(own_key, values[name])
        kind = type(values[name]) if own_key in GROUPS else bare_type(declared)
        kinds[name] = kind | None if is_optional(declared) else kind
    return make_dataclass(type(group).__name__, kinds.items())(**values)


def assign(config: Any, setting: Setting) -> None:
    """Puts a setting into the typed configuration.

    Raises:
        UserError: the value is not of the field's type.
    """
    declared, value = FIELDS[setting.key], setting.value
    if is_optional(declared) and str(value).lower() in ("none", "null", facts_of(declared).none):
        value = None
    if bare_type(declared) is bool and str(value).lower() not in BOOLEAN_WORDS and "${" not in str(value):
        raise UserError(f"{setting.place}: {quoted(value)} is not {kind_of(declared)}")
    try:
        OmegaConf.update(config, setting.key, value, merge=False)
    except ValidationError as error:
        raise UserError(f"{setting.place}: {quoted(value)} is not {kind_of(declared)}") from error
    except OmegaConfBaseException as error:
        raise UserError(explain_interpolation(error, setting.place)) from error


def assign_variable(config: Any, setting: Setting) -> None:
    """Puts a variable beside the typed fields, where interpolations find it; raises as `assign`."""
    try:
        OmegaConf.update(config, setting.key, setting.value, merge=False, force_add=True)
    except OmegaConfBaseException as error:
        raise UserError(explain_interpolation(error, setting.place)) from error


def resolved_value(config: Any, key: str, place: str) -> Any:
    """A field's value with its interpolations worked out."""
    *groups, name = key.split(".")
    group = reduce(getitem, groups, config)
    try:
        return unescaped(group[name])
    except ValidationError as error:
        raw: Any = OmegaConf.to_container(config, resolve=False)
        raw = reduce(getitem, key.split("."), raw)
        raise UserError(f"{place}: {quoted(raw)} does not lead to {kind_of(FIELDS[key])}") from error
    except MissingMandatoryValue as error:
        raise UserError(f"{place}: ??? stands for a missing value: write the value, or \\??? for the text") from error
    except OmegaConfBaseException as error:
        raise UserError(explain_interpolation(error, place)) from error


def unescaped(value: Any) -> Any:
    """A plain value, and in it an escaped `???` without its backslash, where OmegaConf leaves that to us."""
    if isinstance(value, DictConfig):
        return {name: unescaped(value[name]) for name in value}
    if isinstance(value, ListConfig):
        return [unescaped(item) for item in value]
    if unescapes_missing_mark() or not (isinstance(value, str) and MISSING_MARK.fullmatch(value)):
        return value
    return value.removeprefix("\\")
