"""Packages that only some runs use: imported late, and missed in one clear line."""

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any

from dlib.process.errors import UserError

PACKAGES = ("wandb", "tensorboard")
"""Those of the trackers that are called after theirs."""


def import_package(module: str, flag_value: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(missing_package(module, flag_value)) from error


def refuse_missing_packages(trackers: Iterable[str]) -> None:
    """Refuse a tracker whose package is not installed; one of the user's own imports its package by itself."""
    for name in trackers:
        if name in PACKAGES and importlib.util.find_spec(name) is None:
            raise UserError(missing_package(name, name))


def missing_package(package: str, flag_value: str) -> str:
    return f"--trackers {flag_value} needs the package {package}; install it (`pip install {package}`) or leave it out"
