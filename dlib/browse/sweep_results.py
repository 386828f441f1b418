"""`runs.py compare --filter sweep=NAME`: the points of a sweep as text, as JSON, as `.csv` and as a figure."""

import csv
import io
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlib.browse.plotting import refuse_figure
from dlib.browse.quantities import quantity
from dlib.browse.ranking import Ranking, metric_column, rank
from dlib.browse.ranking_figure import save_ranking
from dlib.browse.seeds import Group, mean_and_deviation, notes
from dlib.browse.tables import printable, shown_number, table
from dlib.config.fields import flag_of
from dlib.config.flags import shown_value
from dlib.process.durable import refuse_output, write_output
from dlib.runs.comparison import shortened
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import is_number
from dlib.runs.record import read_record


def compare_points(folders: Sequence[RunFolder], outputs: Sequence[Path], *, as_json: bool) -> None:
    """Print the points that runs belong to, and write them into files: tables as `.csv`, else figures.

    Raises:
        UserError: a file cannot be written, or nothing varies that a figure could show.
    """
    for output in outputs:
        (refuse_output if output.suffix == ".csv" else refuse_figure)(output, "-o")
    ranking = rank(folders)
    print_ranking(ranking, as_json=as_json)
    for output in outputs:
        (write_csv if output.suffix == ".csv" else save_ranking)(ranking, output)
        print(f"wrote {output}", file=sys.stderr if as_json else sys.stdout)


def print_ranking(ranking: Ranking, *, as_json: bool) -> None:
    """Print the points, what is to be known of them, and the command of the best."""
    if as_json:
        print("\n".join(json.dumps(_object(ranking, group)) for group in ranking.points))
        return
    lines = [*_table(ranking), *notes(ranking.points), *_best(ranking)]
    print("\n".join(lines))


def _table(ranking: Ranking) -> list[str]:
    header = [*(flag_of(key)[2:] for key in ranking.varied), "n", ranking.metric, "deviation", "runs"]
    rows = []
    for group in ranking.points:
        number, *moments = mean_and_deviation(group, ranking.column)
        shown = [shown_value(value) for value in ranking.values(group)]
        rows.append((*shown, number, *map(shown_number, moments), shortened([run.name for run in group])))
    return table(rows, header, range(len(header) - 1))


def _best(ranking: Ranking) -> Iterator[str]:
    """The command of the best run of the best point."""
    run = min(ranking.points[0], key=lambda run: quantity("best", "compare", [run]).rank(run) or ("~", 0.0, ""))
    record = read_record(run.folder)
    if record is not None:
        script, *words = record["command"]["argv"]
        yield from ("", printable(f"the best, {run.name}:"), f"  {shlex.join([Path(script).name, *words])}")


def _object(ranking: Ranking, group: Group) -> dict[str, Any]:
    """A point as one flat mapping: of arguments, of metrics with their deviations, of runs."""
    found: dict[str, Any] = dict(zip(ranking.varied, ranking.values(group), strict=True))
    found["n"] = mean_and_deviation(group, ranking.column)[0]
    for name in ranking.metrics:
        _, found[name], found[f"{name} deviation"] = mean_and_deviation(group, metric_column(name))
    return {**found, "runs": [run.name for run in group]}


def write_csv(ranking: Ranking, output: Path) -> None:
    """Write a line for each point, the best first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    objects = [_object(ranking, group) for group in ranking.points]
    writer.writerow(objects[0])
    for found in objects:
        writer.writerow(
            value if is_number(value) else shown_value("" if value is None else value) for value in found.values()
        )
    write_output(output, text.getvalue().encode())
