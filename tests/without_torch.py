"""Answers command lines in one process that may not import torch, and tells what each was answered.

python -m tests.without_torch < command_lines.json

In: lists of words, a script first. Out: the mistake that each was told; `imports torch` where it went on to that.
"""

import gc
import importlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType

from dlib.process.errors import UserError

HEAVY = {"torch", "lightning", "transformers"}
READ_AT_IMPORT = {"TRANSFORMERS_VERBOSITY", "OMP_WAIT_POLICY"}
"""Variables that the heavy libraries read once: set later, they change nothing."""


class HeavyImportError(Exception):
    """A heavy library was imported."""


class Refusal(Loader):
    """Finds the heavy libraries before all other finders do, and raises where one is imported."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A heavy library, which is there to be found; None for anything else."""
        return ModuleSpec(name, cls()) if name in HEAVY else None

    def exec_module(self, module: ModuleType) -> None:
        """Say so, and whether it would take longer than it has to."""
        raise HeavyImportError("imports torch while garbage is collected" if gc.isenabled() else "imports torch")


def answer(words: Sequence[str]) -> str:
    """What a script tells before it would import torch."""
    sys.argv = list(words)
    for name in READ_AT_IMPORT:
        os.environ.pop(name, None)
    try:
        importlib.import_module(words[0].removesuffix(".py")).main()
    except UserError as error:
        return str(error)
    except HeavyImportError as error:
        return str(error) if os.environ.keys() >= READ_AT_IMPORT else "imports torch before it is quiet"
    raise AssertionError(f"{words} ended without either")


if __name__ == "__main__":
    sys.meta_path.insert(0, Refusal)
    print(json.dumps([answer(words) for words in json.load(sys.stdin)]))
