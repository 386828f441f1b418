"""The configuration of a run: YAML files merged in order, then the command line, as an `ExperimentArgs`.

    files, flags --files--> settings --OmegaConf--> typed values --validation--> ExperimentArgs

OmegaConf works out the interpolations, `${oc.env:VAR,default}` and `${optim.learning_rate}`, after everything is
merged, so that a reference in a file sees the command line's value. simple-parsing only makes the flags: its own
reading of YAML ignores unknown keys below the first level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from dlib.args import ExperimentArgs
from dlib.args.fields import facts_of
from dlib.args.run import RESUME_WORDS
from dlib.config.command_line import Flags, parse_flags, print_help
from dlib.config.corpora import parse_corpora
from dlib.config.escapes import escaped
from dlib.config.fields import FIELDS, GROUPS, flag_of, value_of
from dlib.config.validation import validate
from dlib.config.wandb_names import wandb_place
from dlib.process.errors import UserError
from dlib.process.ranks import say


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
        print_help(description, load_config(flags.config_paths) if flags.config_paths else ExperimentArgs())
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
    from dlib.config.files import read_settings  # here: both import OmegaConf
    from dlib.config.typed_values import resolve

    settings = read_settings(paths, overrides)
    places = {key: settings[key].place if key in settings else flag_of(key) for key in FIELDS}
    args: ExperimentArgs = build("", ExperimentArgs, resolve(settings, places))
    validate(args, places)
    return args


def build(key: str, group: type, values: Mapping[str, Any]) -> Any:
    """A group of arguments, with those nested in it, from the values by full key."""
    keys = {declared.name: f"{key}.{declared.name}".lstrip(".") for declared in fields(group)}
    return group(**{name: build(k, GROUPS[k], values) if k in GROUPS else values[k] for name, k in keys.items()})


def dump_config(args: ExperimentArgs) -> str:
    """The configuration as YAML, sections and keys in their order; `load_config` of it gives equal arguments."""
    texts = (
        yaml.safe_dump({section: values}, sort_keys=False, width=1000)  # escaped: some characters end a line in YAML
        for section, values in escaped(asdict(args)).items()
    )
    return "\n".join(texts)


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
