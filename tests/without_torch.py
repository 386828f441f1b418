"""Answers command lines in one process in which torch cannot be imported, and tells what each was answered.

python -m tests.without_torch < command_lines.json

In: lists of words, a script first. Out: the mistake that each was told; `imports torch` where it went on to that.
"""

import importlib
import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from dlib.errors import UserError

HEAVY = {"torch", "lightning", "transformers"}


class HeavyImportError(Exception):
    """A heavy library was about to be imported."""


class Refusal:
    """Finds modules before all others, and raises where it is a heavy one."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None, which leaves the module to the next finder."""
        if name in HEAVY:
            raise HeavyImportError(name)
        return None


def answer(words: Sequence[str]) -> str:
    """What a script tells before it would import torch."""
    sys.argv = list(words)
    try:
        importlib.import_module(words[0].removesuffix(".py")).main()
    except UserError as error:
        return str(error)
    except HeavyImportError:
        return "imports torch"
    raise AssertionError(f"{words} ended without either")


if __name__ == "__main__":
    sys.meta_path.insert(0, Refusal)
    print(json.dumps([answer(words) for words in json.load(sys.stdin)]))
