"""What a report tells of its runs, as plain data that JSON can carry: the page only draws it.

A value of a table is `[value, text]`: by the one rows are sorted, the other is shown; None where a run has none.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from dlib.args import ExperimentArgs
from dlib.browse.curves import TRAIN_LOSS, Curve, all_curves, recorded_metrics
from dlib.browse.listing import shown_step
from dlib.browse.plotting import UNITS, X_LABELS
from dlib.browse.quantities import arguments_of
from dlib.browse.showing import NAMES
from dlib.browse.side_by_side import is_ours, results, shown_result
from dlib.config.fields import FIELDS, value_of
from dlib.config.flags import shown_value
from dlib.process.errors import UserError
from dlib.report.effects import describe_effects
from dlib.report.thinning import thinned
from dlib.runs.folder import RunFolder
from dlib.runs.ledger import EvaluationResult
from dlib.runs.metrics_log import encode, is_number
from dlib.runs.paths import step_name
from dlib.runs.registry import RunSummary, summarize

Cell = list[Any] | None


@dataclass(frozen=True)
class ReportRequest:
    """What is to stand in a report besides the table.

    Attributes:
        filters: the conditions that chose the runs, which the page repeats.
        metrics: what has a curve; none: the training loss, and what evaluations and callbacks of one's own recorded.
        x: what the curves stand over: "step", "tokens" or "hours".
        samples: how many written texts of an evaluation are shown, at most.
    """

    filters: Sequence[str] = ()
    metrics: Sequence[str] = ()
    x: str = "step"
    samples: int = 10


@dataclass(frozen=True)
class RunFacts:
    """What is known of one run; where its numbers cannot be read, `note` says why."""

    summary: RunSummary
    note: str
    arguments: dict[str, Any]
    results: dict[str, Any] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)

    @property
    def folder(self) -> RunFolder:
        """Where the run is."""
        return self.summary.folder


def gather(folders: Sequence[RunFolder], request: ReportRequest) -> dict[str, Any]:
    """All that the page holds.

    Raises:
        UserError: no run recorded one of the metrics, or one did not record what the axis needs.
    """
    runs = [_facts(folder, request.x) for folder in folders]
    metrics = recorded_metrics(request.metrics, {curve.metric for run in runs for curve in run.curves})
    best = Counter(run.folder.best_metric for run in runs).most_common(1)[0][0]
    differing, shared = _arguments(runs)
    return {
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "filters": list(request.filters),
        "best": {"key": best.key, "highest": best.highest},
        **_table(runs, differing, best.key),
        "shared": [[key, shown_value(value)] for key, value in shared.items()],
        "x": X_LABELS[request.x],
        "charts": _charts(runs, metrics),
        "effects": describe_effects([run.summary for run in runs], [run.results for run in runs]),
        "evaluations": [row for place, run in enumerate(runs) for row in _evaluations(place, run.folder)],
        "samples": [found for place, run in enumerate(runs) for found in _samples(place, run.folder, request.samples)],
    }


def _facts(folder: RunFolder, x: str) -> RunFacts:
    summary, arguments = summarize(folder), arguments_of(folder) or {}
    try:
        curves = all_curves(folder, folder.name, "step")
        found = results(folder)
    except UserError as error:
        return RunFacts(summary, f"its numbers cannot be read: {error}", arguments)
    # What the axis lacks is the user's mistake, and no damage of the run.
    curves = curves if x == "step" or not curves else all_curves(folder, folder.name, x)
    return RunFacts(summary, summary.note, arguments, found, curves)


def _arguments(runs: Sequence[RunFacts]) -> tuple[list[str], dict[str, Any]]:
    """The arguments in which runs differ, and those that all have alike and that are no defaults."""
    known = [run.arguments for run in runs if run.arguments]
    values = {key: [arguments[key] for arguments in known] for key in FIELDS if key not in NAMES and known}
    differing = [key for key, column in values.items() if any(value != column[0] for value in column)]
    defaults = ExperimentArgs()
    alike = {key: column[0] for key, column in values.items() if key not in differing}
    return differing, {key: value for key, value in alike.items() if value != value_of(defaults, key)}


def _table(runs: Sequence[RunFacts], arguments: Sequence[str], best: str) -> dict[str, Any]:
    """Columns, that of the metric `best` before the others, and the cells of each run below them."""
    found = dict.fromkeys(name for run in runs for name in run.results)
    names = [name for name in found if name not in ("state", "step", best)]
    columns = [[best, ""], ["state", ""], ["step", ""], *([key, "arguments that differ"] for key in arguments)]
    columns += [*([name, "results"] for name in names), ["last change", ""]]
    return {
        "columns": columns,
        "runs": [
            {
                "name": run.summary.name,
                "note": run.note,
                "cells": [
                    _result_cell(run.results, best),
                    [run.summary.state, run.summary.state],
                    None if run.summary.step is None else [run.summary.step, shown_step(run.summary)],
                    *(_argument_cell(run.arguments, key) for key in arguments),
                    *(_result_cell(run.results, name) for name in names),
                    _time_cell(run.summary.time),
                ],
            }
            for run in runs
        ],
    }


def _argument_cell(arguments: Mapping[str, Any], key: str) -> Cell:
    if not arguments:
        return None
    value = arguments[key]
    return [encode(value) if is_number(value) else shown_value(value), shown_value(value)]


def _result_cell(found: Mapping[str, Any], name: str) -> Cell:
    value = found.get(name)
    return None if value is None else [encode(value), shown_result(name, value)]


def _time_cell(seconds: float) -> Cell:
    return [seconds, datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")] if seconds else None


def _charts(runs: Sequence[RunFacts], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A chart for each metric, with a line for each run that recorded it."""
    recorded = dict.fromkeys(curve.metric for run in runs for curve in run.curves)
    shown = metrics or [name for name in recorded if _is_shown(name)]
    return [
        {
            "metric": metric,
            "unit": UNITS.get(metric.rpartition("/")[2], ""),
            "lines": [
                {"run": place, **thinned(curve)}
                for place, run in enumerate(runs)
                for curve in run.curves
                if curve.metric == metric
            ],
        }
        for metric in shown
    ]


def _is_shown(metric: str) -> bool:
    """Whether a metric has a chart without being asked for."""
    if metric == TRAIN_LOSS or metric.startswith("dev/"):
        return True
    return not (is_ours(metric) or metric.startswith("performance/"))


def _evaluations(place: int, folder: RunFolder) -> list[dict[str, Any]]:
    """What `eval.py` found of a run."""
    return [
        {
            "run": place,
            "step": result.step,
            "what": _kind(result),
            "metrics": {name: [encode(value), shown_result(name, value)] for name, value in result.metrics.items()},
        }
        for result in folder.ledger.results()
    ]


def _samples(place: int, folder: RunFolder, most: int) -> list[dict[str, Any]]:
    """What a model wrote in evaluations of its best checkpoint, or else of the newest that has any."""
    written = [(result, rows) for result in folder.ledger.results() if (rows := result.outputs(most))]
    steps = {result.step for result, _ in written}
    best = folder.pointed_step("best")
    chosen = best if best in steps else max(steps, default=None)
    return [
        {"run": place, "step": result.step, "what": _kind(result), "rows": [_texts(row) for row in rows]}
        for result, rows in written
        if result.step == chosen
    ]


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else shown_value(value) for name, value in row.items()}


def _kind(result: EvaluationResult) -> str:
    """What was evaluated, by the result's name: another text or other settings than the run's own."""
    return result.file.stem.removeprefix(step_name(result.step)).lstrip("-") or "as in training"
