"""The flags of a script, which simple-parsing makes from the argument groups, and their help.

A flag's value stays text here; the configuration reads it as it reads a file's, so that both are checked in one place
and with the same words. Only flags that were given are handed on: the others must not override the files.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import Field, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from simple_parsing import ArgumentParser
from simple_parsing.wrappers import DataclassWrapper, FieldWrapper

from dlib.args import ExperimentArgs
from dlib.config.fields import FIELDS, FLAGS, SECTIONS, bare_type, choices_of, is_list, texts_of
from dlib.config.spelling import explain_unknown_flag
from dlib.process.errors import UserError

# The values of this list are `name=value`, and a value may hold commas of its own.
SPLIT_ON_SPACES_ONLY = ("model.model_overrides",)
OTHER_FLAGS = ("--config_path", "--plan", "--help")
METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT", list[int]: "N", list[str]: "TEXT", bool: "true|false"}


@dataclass(frozen=True)
class Flags:
    """What was given on the command line: overrides by full key, as text or lists of texts."""

    config_paths: list[Path]
    overrides: dict[str, Any]
    plan: bool
    help: bool


def parse_flags(argv: Sequence[str] | None, description: str) -> Flags:
    """Reads the flags that were given.

    Args:
        argv: the words after the script's name; None takes the process's own.
        description: what the script does.

    Raises:
        UserError: a flag is unknown, lacks its value or has too many; the message names the nearest right flag.
    """
    words = [with_underscores(word) for word in (sys.argv[1:] if argv is None else argv)]
    if wants_plain_help(words):
        return Flags([], {}, plan=False, help=True)
    parser = make_parser(description, argparse.SUPPRESS)
    try:
        parsed, extra = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UserError(explain_argument_error(error)) from error
    if extra and not parsed.help:
        raise UserError(explain_extra(extra[0], words))
    given = {
        f"{section}.{name}": value
        for section in SECTIONS
        for name, value in (getattr(parsed, section, None) or {}).items()
    }
    overrides = {key: split_list(key, value) if is_list(FIELDS[key]) else value for key, value in given.items()}
    return Flags(parsed.config_path, overrides, parsed.plan, parsed.help)


def wants_plain_help(words: Sequence[str]) -> bool:
    """Whether the help is asked for without files that would change its defaults: nothing else needs reading then."""
    asked = any(word in ("-h", "--help") for word in words)
    return asked and not any(word.startswith("--config_path") for word in words)


def with_underscores(word: str) -> str:
    """The word with `_` for every `-` inside the name of a flag.

    Raises:
        UserError: a long flag has only one dash, which would be read as a short flag and its value.
    """
    name, equals, value = word.partition("=")
    if re.fullmatch(r"--\w[\w-]*", name):
        return "--" + name[2:].replace("-", "_") + equals + value
    if re.fullmatch(r"-[a-z][\w-]+", name) and "-" + name.replace("-", "_").replace("_", "-", 1) in FLAGS:
        raise UserError(f"unknown flag {name}: did you mean -{name}?")
    return word


def explain_argument_error(error: argparse.ArgumentError) -> str:
    """The message for a flag that argparse refused."""
    # argparse joins the names of a flag with a slash, the long one last.
    flag = (error.argument_name or "command line").rpartition("/")[2]
    if "ignored explicit argument" in error.message:
        return f"{flag} takes no value"
    if "argument" in error.message:
        return f"{flag}: a value is missing (write {flag}=VALUE for one that begins with a dash)"
    return f"{flag}: {error.message}"


def explain_extra(word: str, words: Sequence[str]) -> str:
    """The message for a word that is neither a flag nor a flag's value."""
    if word.startswith("-"):
        name = word.partition("=")[0]
        if name.replace("--no_", "--", 1) in FLAGS:
            return f"unknown flag {name}: write {name.replace('--no_', '--', 1)} false"
        return explain_unknown_flag(name, (*FLAGS, *OTHER_FLAGS))
    # A word that stands twice is the later one: the first may well be the value of a flag.
    place = max(index for index, other in enumerate(words) if other == word)
    position = next((index for index in reversed(range(place)) if words[index].startswith("-")), None)
    if position is None:
        return f"{word!r} belongs to no flag: see --help"
    flag, _, first = words[position].partition("=")
    if flag in OTHER_FLAGS:
        return f"{flag} takes no value: {word!r} belongs to no flag"
    rest = takewhile(lambda value: not value.startswith("-"), words[position + 1 :])
    return f'{flag} takes one value: put it in quotes, {flag} "{" ".join([first] * bool(first) + list(rest))}"'


def split_list(key: str, values: Sequence[str]) -> list[str]:
    """The values of a list, which may be separated by spaces or commas."""
    if key in SPLIT_ON_SPACES_ONLY:
        return list(values)
    return [part for value in values for part in value.split(",") if part]


def print_help(description: str, defaults: ExperimentArgs) -> None:
    """Prints all flags by group, with their meaning and the given defaults."""
    make_parser(description, defaults).print_help()


def make_parser(description: str, defaults: ExperimentArgs | str) -> "FlagParser":
    """The parser of all groups.

    Args:
        description: what the script does.
        defaults: the values that the help shows; `argparse.SUPPRESS` for a parser that returns only what was given.
    """
    parser = FlagParser(
        description=description,
        usage="%(prog)s -n NAME [--config_path FILE ...] [--plan] [--FLAG VALUE ...]",
        formatter_class=HelpFormatter,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="Show this help and exit.")
    parser.add_argument(
        "--config_path",
        metavar="FILE",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="YAML files, merged in order; flags win over files.",
    )
    parser.add_argument("--plan", action="store_true", help="Print what would happen, and stop.")
    for section, group in SECTIONS.items():
        default: Any = getattr(defaults, section) if isinstance(defaults, ExperimentArgs) else defaults
        parser.add_arguments(group, dest=section, default=default, dataclass_wrapper_class=GroupWrapper)
    return parser


class FlagParser(ArgumentParser):
    """A parser that raises what the user did wrong, in place of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raises the message."""
        raise UserError(message)


class HelpFormatter(argparse.HelpFormatter):
    """Help that is readable on 80 columns, whatever the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=8, width=80)


class GroupWrapper(DataclassWrapper[Any]):
    """A group of arguments under the name that is its section in a file."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "field_wrapper_class": FlagWrapper})

    @property
    def title(self) -> str:
        """The section's name."""
        return self.name

    @property
    def description(self) -> str:
        """The text under the group's class."""
        return self.dataclass.__doc__ or ""


class FlagWrapper(FieldWrapper):
    """A field as a flag whose value stays text."""

    @property
    def arg_options(self) -> dict[str, Any]:
        """What argparse is told about the flag."""
        options: dict[str, Any] = {
            "dest": self.dest,
            "default": argparse.SUPPRESS,
            "metavar": "CHOICE" if choices_of(self.field) else METAVARS[bare_type(self.field)],
            "help": full_help(texts_of(self.parent.name)[self.name], self.field, self.default).replace("%", "%%"),
        }
        if bare_type(self.field) is bool:
            options |= {"nargs": "?", "const": "true"}
        elif is_list(self.field):
            options |= {"nargs": "*"}
        return options


def full_help(text: str, field: Field[Any], default: Any) -> str:
    """The text under the field, its choices, and its default."""
    choices = f" One of: {', '.join(choices_of(field))}." if choices_of(field) else ""
    return f"{text}{choices}" + (f" (default: {shown(default)})" if default != "" else "")


def shown(default: Any) -> str:
    """A default as it would be typed."""
    if isinstance(default, list):
        return " ".join(map(str, default)) or "empty"
    return str(default).lower() if default is None or isinstance(default, bool) else str(default)
