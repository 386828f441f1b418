"""The configuration of a run: YAML files merged in order, then the command line, as an `ExperimentArgs`.

    files, flags --files--> settings --OmegaConf--> typed values --validation--> ExperimentArgs

OmegaConf works out the interpolations, `${oc.env:VAR,default}` and `${optim.learning_rate}`, after everything is
merged, so that a reference in a file sees the command line's value. simple-parsing only makes the flags: its own
reading of YAML ignores unknown keys below the first level.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException, ValidationError

from dlib.args import ExperimentArgs
from dlib.args.fields import facts_of
from dlib.args.run import RESUME_WORDS
from dlib.config.command_line import Flags, parse_flags, print_help
from dlib.config.corpora import parse_corpora
from dlib.config.fields import FIELDS, GROUPS, bare_type, flag_of, is_optional, kind_of, value_of
from dlib.config.files import Setting, explain_interpolation, read_settings
from dlib.config.validation import validate
from dlib.config.wandb_names import wandb_place
from dlib.process.errors import UserError, quoted
from dlib.process.ranks import say
from dlib.process.versions import unescapes_missing_mark

# OmegaConf also takes numbers as booleans, which hides typing errors.
BOOLEAN_WORDS = ("true", "false", "yes", "no", "on", "off")
# A `${` and the backslashes before it, which OmegaConf reads as escapes.
INTERPOLATION_START = re.compile(r"(\\*)\$\{")
# A `???`, which OmegaConf reads as a value still to be given, with the backslashes that take this meaning away.
MISSING_MARK = re.compile(r"\\*\?\?\?")


@dataclass(frozen=True)
class ParsedArgs:
    """The command line: the configuration, and what was typed."""

    args: ExperimentArgs
    flags: Flags


@dataclass(frozen=True)
class ChangedField:
    """A field that differs between two configurations, by its full key (`optim.learning_rate`)."""

    key: str
    old: Any
    new: Any


def parse_args(argv: Sequence[str] | None = None, *, description: str) -> ParsedArgs:
    """Reads the command line and the files that it names; `--help` prints and exits.

    Raises:
        UserError: something is wrong or missing; the message names the flag, or the file and key.
        SystemExit: the help was asked for and printed.
    """
    flags = parse_flags(argv, description)
    if flags.help:
        print_help(description, load_config(flags.config_paths))
        raise SystemExit(0)
    args = load_training_config(flags.config_paths, flags.overrides)
    if not args.run.name and not flags.plan and args.run.resume in RESUME_WORDS:
        raise UserError("--name is missing: give the run a name, for example -n my-run")
    return ParsedArgs(args, flags)


def load_training_config(paths: Sequence[Path], overrides: Mapping[str, Any]) -> ExperimentArgs:
    """`load_config` for a run that is to train: code may run only if the command line says so.

    Raises:
        UserError: as `load_config`; or a file allows code to run; or a variable of W&B's is wrong.
    """
    args = load_config(paths, overrides)
    if args.model.trust_remote_code and "model.trust_remote_code" not in overrides:
        raise UserError(
            "model.trust_remote_code: a configuration file cannot allow code to run; read what the model's folder "
            "brings, then give --trust_remote_code too"
        )
    if "wandb" in args.tracking.trackers:
        wandb_place(args.tracking)
    if args.model.checkpoint is not None and args.model.from_scratch:
        say(f"--from_scratch is left out: the weights come from --checkpoint {args.model.checkpoint}")
        return replace(args, model=replace(args.model, from_scratch=False))
    return args


def load_config(paths: Sequence[Path], overrides: Mapping[str, Any] = {}) -> ExperimentArgs:
    """Merges YAML files in order, then the overrides by full key, and works out types and interpolations.

    The files' sections are the groups of arguments (`optim: {learning_rate: 1e-4}`), and `vars`, which is for their
    interpolations alone; texts among the overrides (`{"optim.learning_rate": "1e-4"}`) are read as in a file.

    Raises:
        UserError: a file, key or value is wrong; the message names the file and key, or the flag.
    """
    settings = read_settings(paths, overrides)
    config = typed_defaults()
    for setting in settings.values():
        (assign if setting.key in FIELDS else assign_variable)(config, setting)
    places = {key: settings[key].place if key in settings else flag_of(key) for key in FIELDS}
    values = {key: resolved_value(config, key, place) for key, place in places.items()}
    args: ExperimentArgs = build("", ExperimentArgs, values)
    validate(args, places)
    return args


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


def build(key: str, group: type, values: Mapping[str, Any]) -> Any:
    """A group of arguments, with those nested in it, from the values by full key."""
    keys = {declared.name: f"{key}.{declared.name}".lstrip(".") for declared in fields(group)}
    return group(**{name: build(k, GROUPS[k], values) if k in GROUPS else values[k] for name, k in keys.items()})


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


def dump_config(args: ExperimentArgs) -> str:
    """The configuration as YAML, sections and keys in their order; `load_config` of it gives equal arguments."""
    texts = (
        yaml.safe_dump({section: values}, sort_keys=False, width=1000)  # escaped: some characters end a line in YAML
        for section, values in escaped(asdict(args)).items()
    )
    return "\n".join(texts)


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


def unescaped(value: Any) -> Any:
    """A plain value, and in it an escaped `???` without its backslash, where OmegaConf leaves that to us."""
    if isinstance(value, DictConfig):
        return {name: unescaped(value[name]) for name in value}
    if isinstance(value, ListConfig):
        return [unescaped(item) for item in value]
    if unescapes_missing_mark() or not (isinstance(value, str) and MISSING_MARK.fullmatch(value)):
        return value
    return value.removeprefix("\\")


def differing_fields(a: ExperimentArgs, b: ExperimentArgs, *, ignore_free: bool = True) -> list[ChangedField]:
    """The fields in which two configurations differ; not those that may change in a resumed run (`free=True`).

    Nor those of texts whose paths alone differ.
    """
    compared = [key for key, declared in FIELDS.items() if not (ignore_free and facts_of(declared).free)]
    differences = [ChangedField(key, value_of(a, key), value_of(b, key)) for key in compared]
    return [d for d in differences if d.old != d.new and not (ignore_free and are_same_texts(d))]


def are_same_texts(difference: ChangedField) -> bool:
    """Whether texts of a mixture differ in their files' paths alone, whose content is compared elsewhere."""
    if not facts_of(FIELDS[difference.key]).corpora:
        return False
    old, new = (
        [replace(corpus, path="") for corpus in parse_corpora(texts, flag_of(difference.key))]
        for texts in (difference.old, difference.new)
    )
    return old == new
