"""What the numbers of an evaluation depend on, but for the weights: it gives a result its name."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from dlib.args import ExperimentArgs
from dlib.config.fields import flag_of, value_of
from dlib.measuring.flags import NUMBERS_DEPEND_ON, Harness, Order
from dlib.process.errors import UserError

DEFAULTS = ExperimentArgs()
ALWAYS_NAMED = (
    *("objective", "mask_fraction", "whole_word_masking"),
    *("max_length", "line_by_line", "encoding_errors", "precision"),
)
"""Settings that have been part of every result's name, also at their defaults."""


def refuse_other_measures(args: ExperimentArgs, order: Order) -> None:
    """Refuse what is not defined for the objective.

    Raises:
        UserError: it was asked for.
    """
    for measure in ("stride", "harness", "pseudo_perplexity"):
        if getattr(order, measure) and measure not in known_measures(args.objective.objective):
            raise UserError(f"--{measure}: {args.objective.objective} has no such measure; leave it out")
    if order.stride is not None and order.stride >= args.data.max_length:
        raise UserError(
            f"--stride {order.stride}: windows of --max_length {args.data.max_length} tokens would not meet"
        )


def known_measures(objective: str) -> Collection[str]:
    """The further numbers that an objective has."""
    from dlib.objectives import objective_class  # here and not above: it takes seconds to import, and few ask

    return objective_class(objective).measures


def settings_of_training(args: ExperimentArgs, sha256: str | None) -> dict[str, Any]:
    """All that an evaluation in training depends on, but for the weights and the last bits.

    What stands at its default is left out, so that a new argument renames no result.
    """
    said = {flag_of(key)[2:]: value_of(args, key) for key in NUMBERS_DEPEND_ON}
    if said["document"] == "line":  # what `auto` says too, in a run from before it and of a model that is no run's
        said["document"] = DEFAULTS.data.document
    usual = {flag_of(key)[2:]: value_of(DEFAULTS, key) for key in NUMBERS_DEPEND_ON}
    named = {name: value for name, value in said.items() if name in ALWAYS_NAMED or value != usual[name]}
    return {"text_sha256": sha256, **named}


def describe_harness(harness: Harness) -> dict[str, Any]:
    """The tasks, and the content of the user's own task files."""
    files = sorted(path for path in harness.folder.rglob("*") if path.is_file()) if harness.folder else []
    own = {path.relative_to(harness.folder or path).as_posix(): hash_file(path) for path in files}
    return {"tasks": list(harness.tasks), "files": own}


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def short_hash(settings: dict[str, Any]) -> str:
    """Eight hexadecimal digits that tell settings apart."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
