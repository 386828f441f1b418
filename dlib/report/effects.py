"""How metrics depend on the arguments that vary: means over seeds, as a sweep's figure shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlib.args.fields import facts_of
from dlib.browse.quantities import arguments_of
from dlib.browse.seeds import SEED, groups_of, moments
from dlib.config.fields import FIELDS
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
    groups = [[place_of[run.folder] for run in group] for group in groups_of(runs)]
    arguments = [arguments_of(runs[group[0]].folder) or {} for group in groups]
    names = [key for key, field in FIELDS.items() if not facts_of(field).free and key != SEED]
    varied = [key for key in names if any(values[key] != arguments[0][key] for values in arguments)]
    metrics = dict.fromkeys(name for found in results for name, value in found.items() if is_number(value))
    shown = [name for name in metrics if name not in NO_RESULTS]
    return {
        "arguments": varied,
        "metrics": shown,
        "groups": [
            {
                "runs": group,
                "values": [_value(values[key]) for key in varied],
                "means": {name: _means([results[place].get(name) for place in group]) for name in shown},
                "whole": all(runs[place].state == "finished" for place in group),
            }
            for group, values in zip(groups, arguments, strict=True)
        ],
    }


def _value(value: Any) -> Any:
    return encode(value) if is_number(value) else shown_value(value)


def _means(values: Sequence[Any]) -> list[Any]:
    return [encode(number) for number in moments([value for value in values if is_number(value)])]
