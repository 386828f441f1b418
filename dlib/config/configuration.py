"""The configuration of a run: YAML files merged in order, then the command line, as an `ExperimentArgs`.

    files, flags --config_files--> settings --OmegaConf--> typed values --validation--> ExperimentArgs

OmegaConf works out the interpolations, `${oc.env:VAR,default}` and `${optim.learning_rate}`, after everything is
merged, so that a reference in a file sees the command line's value. simple-parsing only makes the flags: its own
reading of YAML ignores unknown keys below the first level.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException, ValidationError

from dlib.args import ExperimentArgs
from dlib.args.run import RESUME_WORDS
from dlib.config.command_line import Flags, parse_flags, print_help
from dlib.config.fields import FIELDS, SECTIONS, bare_type, choices_of, flag_of, is_optional, kind_of
from dlib.config.files import Setting, read_settings
from dlib.config.interpolation_errors import explain
from dlib.config.spelling import did_you_mean
from dlib.config.validation import validate
from dlib.config.wandb_names import wandb_place
from dlib.process.errors import UserError, quoted
from dlib.process.versions import unescapes_missing_mark

# OmegaConf takes any number as well, which hides a slip.
BOOLEAN_WORDS = ("true", "false", "yes", "no", "on", "off")
# A `${` and the backslashes before it, which OmegaConf reads as escapes.
INTERPOLATION_START = re.compile(r"(\\*)\$\{")
# A `???`, which OmegaConf reads as a value still to be given, with the backslashes that take this meaning away.
MISSING_MARK = re.compile(r"\\*\?\?\?")


@dataclass(frozen=True)
class ParsedArgs:
    """What the command line asks for: the configuration, whether only the plan is to be printed, and what was typed."""

    args: ExperimentArgs
    plan: bool
    flags: Flags


@dataclass(frozen=True)
class Difference:
    """A field that differs between two configurations, by its full key (`optim.learning_rate`)."""

    key: str
    old: Any
    new: Any


def parse_args(argv: Sequence[str] | None = None, *, description: str) -> ParsedArgs:
    """Reads the command line and the files that it names; `--help` prints and exits.

    Args:
        argv: the words after the script's name; None takes the process's own.
        description: what the script does, for `--help`.

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
    return ParsedArgs(args, flags.plan, flags)


def load_training_config(paths: Sequence[Path], overrides: Mapping[str, Any]) -> ExperimentArgs:
    """`load_config` for a run that is to train, which takes more than what a record may say.

    Args:
        paths: YAML files, a run's own among them.
        overrides: what was typed, by full key.

    Raises:
        UserError: as `load_config`; or a file allows code to run; or a variable of W&B's is wrong, which no file says.
    """
    args = load_config(paths, overrides)
    if args.model.trust_remote_code and "model.trust_remote_code" not in overrides:
        raise UserError(
            "model.trust_remote_code: a configuration file cannot allow code to run; read what the model's folder "
            "brings, then give --trust_remote_code too"
        )
    if "wandb" in args.tracking.trackers:
        wandb_place(args.tracking)
    return args


def load_config(paths: Sequence[Path], overrides: Mapping[str, Any] = {}) -> ExperimentArgs:
    """Merges YAML files in order, then the overrides, and works out types and interpolations.

    Args:
        paths: YAML files whose sections are the groups of arguments (`optim: {learning_rate: 1e-4}`).
        overrides: values by full key (`"optim.learning_rate"`); texts are read as in a file.

    Raises:
        UserError: a file, key or value is wrong; the message names the file and key, or the flag.
    """
    settings = read_settings(paths, overrides)
    config = OmegaConf.structured(ExperimentArgs)
    for setting in settings.values():
        assign(config, setting)
    places = {key: settings[key].place if key in settings else flag_of(key) for key in FIELDS}
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, place in places.items():
        section, name = key.split(".")
        values[section][name] = resolved_value(config, key, place)
    args = ExperimentArgs(**{section: SECTIONS[section](**values[section]) for section in SECTIONS})
    validate(args, places)
    return args


def assign(config: Any, setting: Setting) -> None:
    """Puts a setting into the typed configuration.

    Raises:
        UserError: the value is not of the field's type.
    """
    field, value = FIELDS[setting.key], setting.value
    if is_optional(field) and str(value).lower() in ("none", "null"):
        value = None
    if bare_type(field) is bool and str(value).lower() not in BOOLEAN_WORDS and "${" not in str(value):
        raise UserError(f"{setting.place}: {quoted(value)} is not {kind_of(field)}")
    try:
        OmegaConf.update(config, setting.key, value, merge=False)
    except ValidationError as error:
        raise UserError(f"{setting.place}: {quoted(value)} is not {kind_of(field)}") from error
    except OmegaConfBaseException as error:
        raise UserError(explain(error, setting.place)) from error


def resolved_value(config: Any, key: str, place: str) -> Any:
    """A field's value with its interpolations worked out."""
    field, (section, name) = FIELDS[key], key.split(".")
    try:
        value = config[section][name]
        value = [*map(unescaped, value)] if isinstance(value, ListConfig) else unescaped(value)
    except ValidationError as error:
        raw = OmegaConf.to_container(config[section], resolve=False)[name]  # type: ignore[call-overload, index]
        raise UserError(f"{place}: {quoted(raw)} does not lead to {kind_of(field)}") from error
    except MissingMandatoryValue as error:
        raise UserError(f"{place}: ??? stands for a missing value: write the value, or \\??? for the text") from error
    except OmegaConfBaseException as error:
        raise UserError(explain(error, place)) from error
    choices = choices_of(field)
    if choices and value is not None and value not in choices:
        hint = did_you_mean(str(value), choices)
        raise UserError(f"{place}: {quoted(value)} is none of {', '.join(choices)}{hint}")
    return value


def dump_config(args: ExperimentArgs) -> str:
    """The configuration as YAML, sections and keys in their order; `load_config` of it gives equal arguments."""
    sections = asdict(args)
    for values in sections.values():
        for name, value in values.items():
            values[name] = [escaped(item) for item in value] if isinstance(value, list) else escaped(value)
    texts = (
        yaml.safe_dump({section: values}, sort_keys=False, width=1000)  # escaped: some characters end a line in YAML
        for section, values in sections.items()
    )
    return "\n".join(texts)


def escaped(value: Any) -> Any:
    """A value in which a text's `${` is no interpolation, and a text `???` no missing value."""
    if not isinstance(value, str):
        return value
    if MISSING_MARK.fullmatch(value):
        return "\\" + value
    return INTERPOLATION_START.sub(r"\1\1\\${", value)


def has_interpolation(text: str) -> bool:
    """Whether a `${` in a text is not escaped, so that something else stands in its place."""
    return any(len(start[1]) % 2 == 0 for start in INTERPOLATION_START.finditer(text))


def unescaped(value: Any) -> Any:
    """A text that is an escaped `???` without its backslash, where OmegaConf leaves that to us."""
    if unescapes_missing_mark() or not (isinstance(value, str) and MISSING_MARK.fullmatch(value)):
        return value
    return value.removeprefix("\\")


def differing_fields(a: ExperimentArgs, b: ExperimentArgs, *, ignore_free: bool = True) -> list[Difference]:
    """The fields in which two configurations differ.

    Args:
        a: the old configuration.
        b: the new configuration.
        ignore_free: leave out the fields that do not change what a run computes (`free=True` in `dlib/args/`).
    """
    old, new = asdict(a), asdict(b)
    differences = []
    for key, field in FIELDS.items():
        section, name = key.split(".")
        before, after = old[section][name], new[section][name]
        if before != after and not (ignore_free and field.metadata.get("free", False)):
            differences.append(Difference(key, before, after))
    return differences
