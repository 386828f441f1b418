"""The flags of train.py, which simple-parsing makes from the argument groups, and their help.

A flag's value stays text here: the configuration reads it as it reads a file's, so that both get the same checks and
words. Only flags that were given are handed on: the others must not override the files.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import Field, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from simple_parsing import ArgumentParser
from simple_parsing.wrappers import DataclassWrapper, FieldWrapper

from dlib.args import ExperimentArgs
from dlib.args.fields import facts_of
from dlib.config.fields import FIELDS, FLAGS, OTHER_FLAGS, SECTIONS, has_many
from dlib.config.flags import flag_options, flags_of, shown_value, split_value
from dlib.config.spelling import explain_unknown_flag
from dlib.process.errors import UserError


@dataclass(frozen=True)
class Flags:
    """What was given on the command line: overrides by full key, as text or lists of texts."""

    config_paths: list[Path]
    overrides: dict[str, Any]
    plan: bool
    help: bool
    fast_dev_run: bool = False


def parse_flags(argv: Sequence[str] | None, description: str) -> Flags:
    """Reads the flags that were given; `argv` None takes the process's own.

    Raises:
        UserError: a flag is unknown, lacks its value or has too many.
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
    given = {key: value for section in SECTIONS for key, value in given_below(section, getattr(parsed, section, None))}
    overrides = {key: split_value(key, value) for key, value in given.items()}
    return Flags(parsed.config_path, overrides, parsed.plan, parsed.help, parsed.fast_dev_run)


def given_below(key: str, values: Any) -> Iterator[tuple[str, Any]]:
    """What was given of a group and of those nested in it, by full key."""
    if key in FIELDS:
        yield key, values
    else:
        for name, value in (values or {}).items():
            yield from given_below(f"{key}.{name}", value)


def wants_plain_help(words: Sequence[str]) -> bool:
    """Whether the help is asked for without files that would change its defaults."""
    asked = any(word in ("-h", "--help") for word in words)
    return asked and not any(word.startswith("--config_path") for word in words)


def with_underscores(word: str) -> str:
    """The word with `_` for every `-` inside the name of a flag; refuses a long flag with one dash."""
    name, equals, value = word.partition("=")
    if re.fullmatch(r"--\w[\w.-]*", name):
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
    # Of a word that appears twice the later one is meant: the first may be the value of a flag.
    place = max(index for index, other in enumerate(words) if other == word)
    position = next((index for index in reversed(range(place)) if words[index].startswith("-")), None)
    if position is None:
        return f"{word!r} belongs to no flag: see --help"
    flag, _, first = words[position].partition("=")
    if flag in OTHER_FLAGS:
        return f"{flag} takes no value: {word!r} belongs to no flag"
    rest = takewhile(lambda value: not value.startswith("-"), words[position + 1 :])
    return f'{flag} takes one value: put it in quotes, {flag} "{" ".join([first] * bool(first) + list(rest))}"'


def print_help(description: str, defaults: ExperimentArgs) -> None:
    """Prints all flags by group, with their meaning and the given defaults."""
    make_parser(description, defaults).print_help()


def make_parser(description: str, defaults: ExperimentArgs | str) -> "FlagParser":
    """The parser of all groups; with the defaults `argparse.SUPPRESS` it returns only what was given."""
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
    fast_help = "Try all the code in 2 steps, with an evaluation and a checkpoint, and leave nothing behind."
    parser.add_argument("--fast_dev_run", action="store_true", help=fast_help)
    for section, group in SECTIONS.items():
        default: Any = getattr(defaults, section) if isinstance(defaults, ExperimentArgs) else defaults
        parser.add_arguments(group, dest=section, default=default, dataclass_wrapper_class=GroupWrapper)
    return parser


class FlagParser(ArgumentParser):
    """A parser that raises what is wrong, where argparse prints its usage and exits."""

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
        # simple-parsing would make the nested ones its own way, with defaults where a flag was not given.
        self._children = [self._nested(child) for child in self._children]

    def _nested(self, child: DataclassWrapper[Any]) -> "GroupWrapper":
        default = self._default if self._default is argparse.SUPPRESS else child.default
        return GroupWrapper(child.dataclass, child.name, default, parent=self, _field=child._field)

    @property
    def title(self) -> str:
        """The section's name, or the full key of a nested group."""
        return self.dest

    @property
    def description(self) -> str:
        """The text under the group's class."""
        return self.dataclass.__doc__ or ""


class FlagWrapper(FieldWrapper):
    """A field as a flag whose value stays text."""

    def __init__(self, field: Field[Any], parent: DataclassWrapper[Any] | None = None, prefix: str = "") -> None:
        # Without a parent simple-parsing fails to read the group's source, and goes on: it is for a help that is not
        # ours, and takes longer than all else here.
        super().__init__(field, None, prefix)
        self._parent = parent

    @property
    def option_strings(self) -> list[str]:
        """The flag, after a short one."""
        return flags_of(self.dest)

    @property
    def arg_options(self) -> dict[str, Any]:
        """What argparse is told about the flag."""
        shown = facts_of(self.field).none if self.default is None else shown_value(self.default)
        default = f" (default: {shown})" if self.default != "" else ""
        options = flag_options(self.dest, default)
        return {"nargs": "*", **options} if has_many(self.field) else options

    def postprocess(self, raw_parsed_value: Any) -> Any:
        """The text as it was given."""
        return raw_parsed_value
