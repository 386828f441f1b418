"""The flags of a script that has few of them, and no file to read them from."""

import argparse
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NoReturn

from dlib.errors import UserError


class ScriptParser(argparse.ArgumentParser):
    """A parser that raises what the user did wrong, in place of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raises the message."""
        raise UserError(f"{message}; see {self.prog} --help")

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """The values of the flags, after a look for unknown ones, whose values would pass for something else."""
        known = {name for action in self._actions for name in action.option_strings}
        if not any(isinstance(action, argparse._SubParsersAction) for action in self._actions):  # those look themselves
            for word in takewhile(lambda word: word != "--", args):
                name = word.partition("=")[0]
                if name.startswith("--") and " " not in name and name not in known:
                    self._refuse(name, known)
        return super().parse_known_args(args, namespace)

    def _refuse(self, name: str, known: set[str]) -> NoReturn:
        from dlib.spelling import explain_unknown_flag  # here and not above: the right flags must not wait for it

        raise UserError(explain_unknown_flag(name, known).replace("see --help", f"see {self.prog} --help"))


def with_underscores(words: Sequence[str]) -> list[str]:
    """The words with `_` for every `-` inside the name of a flag, as `train.py` takes them."""
    names = [word.partition("=")[0] for word in words]
    return [
        "--" + name[2:].replace("-", "_") + word[len(name) :] if name.startswith("--") else word
        for name, word in zip(names, words, strict=True)
    ]
