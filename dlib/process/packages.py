"""Packages that only some runs use: imported where they are needed, and named where they are missing."""

import importlib
from typing import Any

from dlib.process.errors import UserError


def import_optional(module: str, what: str) -> Any:
    """A package that only some texts need, or one line that says for `what`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(f"{what} needs the package {package}: pip install {package}") from error
