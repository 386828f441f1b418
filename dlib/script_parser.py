"""The flags of a script that has few of them, and no file to read them from."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from dlib.errors import UserError


class ScriptParser(argparse.ArgumentParser):
    """A parser that raises what the user did wrong, in place of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raises the message."""
        raise UserError(f"{message}; see {self.prog} --help")


def with_underscores(words: Sequence[str]) -> list[str]:
    """The words with `_` for every `-` inside the name of a flag, as `train.py` takes them."""
    names = [word.partition("=")[0] for word in words]
    return [
        "--" + name[2:].replace("-", "_") + word[len(name) :] if name.startswith("--") else word
        for name, word in zip(names, words, strict=True)
    ]
