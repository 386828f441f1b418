"""The results of evaluations after training: evals/*.json, a file a checkpoint and data set.

They are read leniently: whatever has a step and metrics counts, and what cannot be read is passed over.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlib.runs.folder import RunFolder


@dataclass(frozen=True)
class EvaluationResult:
    """What one file says: the checkpoint's step, and its metrics by name."""

    file: Path
    step: int
    metrics: dict[str, Any]


def read_evaluations(folder: RunFolder) -> list[EvaluationResult]:
    """All results of a run, by step, then by file."""
    if not folder.evals.is_dir():
        return []
    found = (_read(file) for file in sorted(folder.evals.glob("*.json")))
    return sorted((result for result in found if result), key=lambda result: result.step)


def _read(file: Path) -> EvaluationResult | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        step, metrics = content["step"], content["metrics"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    is_result = isinstance(step, int) and isinstance(metrics, dict)
    return EvaluationResult(file, step, metrics) if is_result else None
