"""How metrics depend on the arguments that vary: means over seeds, as a sweep's figure shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlib.browse.quantities import arguments_of
from dlib.browse.seeds import groups_of, moments, varied_arguments
from dlib.config.flags import shown_value
from dlib.runs.metrics_log import encode, is_number
from dlib.runs.registry import RunSummary

NO_RESULTS = ("step", "best step", "size")
"""Numbers of a run that no argument is judged by."""


def describe_effects(runs: Sequence[RunSummary], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The arguments that vary, and for each group of runs that differ in the seed only their values and its means.

    Args:
        runs: what has no readable arguments is left out.
        results: the numbers of each, by name.

    Returns:
        `arguments`; `metrics`; `groups`: `runs` (places in `runs`), `values` (of the arguments), `means` (by metric:
        how many numbers, their mean, their standard deviation or None), `whole` (whether all its runs are finished).
    """
    place_of = {run.folder: place for place, run in enumerate(runs)}
    groups = groups_of(runs)
    varied = varied_arguments(groups)
    metrics = dict.fromkeys(name for found in results for name, value in found.items() if is_number(value))
    shown = [name for name in metrics if name not in NO_RESULTS]
    described = []
    for group in groups:
        places = [place_of[run.folder] for run in group]
        arguments = arguments_of(group[0].folder) or {}
        described.append(
            {
                "runs": places,
                "values": [_value(arguments[key]) for key in varied],
                "means": {name: _means([results[place].get(name) for place in places]) for name in shown},
                "whole": all(run.state == "finished" for run in group),
            }
        )
    return {"arguments": varied, "metrics": shown, "groups": described}


def _value(value: Any) -> Any:
    return encode(value) if is_number(value) else shown_value(value)


def _means(values: Sequence[Any]) -> list[Any]:
    return [encode(number) for number in moments([value for value in values if is_number(value)])]
