"""The flags of a script that has few of them, and no configuration file."""

import argparse
import re
from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, NoReturn

from dlib.process.errors import UserError

FLAG = re.compile(r"--?[A-Za-z]\S*")


class ScriptParser(argparse.ArgumentParser):
    """A parser that raises what is wrong, where argparse prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        """Raises the message."""
        raise UserError(f"{message}; see {self.prog} --help")

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """The values of the flags, after refusing empty words and unknown flags."""
        self._refuse_empty(args)
        known = {name for action in self._actions for name in action.option_strings}
        if any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            if args and FLAG.match(args[0]) and args[0] not in known:
                raise UserError(f"{args[0]} stands before the sub-command: write {self.prog} COMMAND {args[0]} ...")
            return super().parse_known_args(args, namespace)  # the sub-command's parser looks at the rest
        for word in takewhile(lambda word: word != "--", args):
            name = word.partition("=")[0]
            if FLAG.match(name) and name not in known and (name.startswith("--") or name[:2] not in known):
                self._refuse(name, known)
        return super().parse_known_args(args, namespace)

    def _refuse_empty(self, words: Sequence[str]) -> None:
        """Refuse an empty word, mostly an unset shell variable: as a path it would be the current folder."""
        for before, word in pairwise(["", *words]):
            name, equals, value = word.partition("=")
            if not word.strip():
                name = before if before.startswith("-") else "an argument"
            elif not (FLAG.match(name) and equals and not value.strip()):
                continue
            raise UserError(f"{name}: this is empty: write a value, or leave it out")

    def _refuse(self, name: str, known: set[str]) -> NoReturn:
        from dlib.config.spelling import (
            explain_unknown_flag,  # here and not above: the right flags must not wait for it
        )

        raise UserError(explain_unknown_flag(name, known).replace("see --help", f"see {self.prog} --help"))


def make_commands(script: str, text: str) -> tuple[ScriptParser, Callable[[str, str], ScriptParser]]:
    """A parser of sub-commands, and what adds one of a name with its text; the name of the given one is `command`.

    All of them take the workspace, `--out_dir`.
    """
    parser = ScriptParser(prog=script, description=text, allow_abbrev=False)
    commands = parser.add_subparsers(title="sub-commands", metavar="COMMAND", required=True, dest="command")

    def add(name: str, text: str) -> ScriptParser:
        command: ScriptParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        workspace = "Folder that holds the run folders, as train.py takes it (default: runs)."
        add_flag(command, "--out_dir", workspace, "FOLDER", type=_local_folder, default=Path("runs"))
        return command

    return parser, add


def _local_folder(text: str) -> Path:
    """The workspace, refusing an address: as a path it would make folders here."""
    if "://" in text:
        raise UserError(
            f"--out_dir {text}: give a folder here; only import's SOURCE and export's DESTINATION may be addresses"
        )
    return Path(text)


def with_underscores(words: Sequence[str]) -> list[str]:
    """The words with `_` for every `-` inside the name of a flag, as `train.py` takes them."""
    names = [word.partition("=")[0] for word in words]
    return [
        "--" + name[2:].replace("-", "_") + word[len(name) :] if name.startswith("--") else word
        for name, word in zip(names, words, strict=True)
    ]


def add_flag(
    parser: "argparse._ActionsContainer", names: str | tuple[str, ...], text: str, metavar: str, **options: Any
) -> None:
    """Declares a flag or a positional argument with a value."""
    parser.add_argument(*([names] if isinstance(names, str) else names), metavar=metavar, help=text, **options)


def add_switch(parser: "argparse._ActionsContainer", name: str, text: str, **options: Any) -> None:
    """Declares a flag without a value."""
    parser.add_argument(name, action="store_true", help=text, **options)
