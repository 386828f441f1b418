"""What `runs.py show` tells of one run: arguments, record, curves, checkpoints, evaluations."""

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from dlib.args import ExperimentArgs
from dlib.browse.checkpoint_list import checkpoint_table, describe_checkpoints
from dlib.browse.curves import TRAIN_LOSS
from dlib.browse.listing import as_object, run_table
from dlib.browse.tables import printable, shown_number, sparkline, table
from dlib.config.configuration import ChangedField, differing_fields, load_config
from dlib.config.flags import shown_value
from dlib.process.errors import UserError
from dlib.runs.comparison import NUMERIC_PACKAGES, SHORT_COMMIT
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import DEV_LOSS, is_number, read_metrics
from dlib.runs.record import began_with_uncommitted_code, read_record, sessions_with_other_code
from dlib.runs.registry import RunSummary, summarize

SHORT_HASH = 12
NAMES = ("run.name", "run.out_dir")
"""Arguments that say where a run stands, which its folder does."""


def print_run(folder: RunFolder, *, as_json: bool) -> None:
    """Print a summary of a run, also where parts of it are damaged."""
    summary = summarize(folder)
    if as_json:
        print(json.dumps(_as_object(summary)))
        return
    print("\n".join(run_table([summary])))
    if summary.note:
        print(f"\n{printable(f'{summary.state}: {summary.note}')}")
    for title, lines_of in (
        ("arguments that are no defaults", _argument_lines),
        ("record", _record_lines),
        ("curves", _curve_lines),
        ("checkpoints", checkpoint_table),
        ("evaluations", _evaluation_lines),
    ):
        try:
            lines = lines_of(folder)
        except UserError as error:
            lines = [printable(f"cannot be read: {error}")]
        except (KeyError, TypeError, AttributeError) as error:  # another version's, or somebody edited it
            lines = [printable(f"cannot be read: {type(error).__name__} {error}")]
        if lines:
            print("\n  ".join([f"\n{title}", *lines]))


def changed_arguments(folder: RunFolder) -> list[ChangedField]:
    """The arguments of a run that are not defaults."""
    differences = differing_fields(ExperimentArgs(), load_config([folder.config]), ignore_free=False)
    return [difference for difference in differences if difference.key not in NAMES]


def _as_object(summary: RunSummary) -> dict[str, Any]:
    folder = summary.folder
    try:
        arguments = {difference.key: difference.new for difference in changed_arguments(folder)}
    except UserError:
        arguments = None
    evaluations = [
        {"file": str(result.file.relative_to(folder.root)), "step": result.step, "metrics": result.metrics}
        for result in folder.ledger.results()
    ]
    return {
        **as_object(summary),
        "arguments": arguments,
        "record": read_record(folder),
        "checkpoints": describe_checkpoints(folder),
        "evaluations": evaluations,
    }


def _argument_lines(folder: RunFolder) -> list[str]:
    return table([(change.key, shown_value(change.new)) for change in changed_arguments(folder)])


def _record_lines(folder: RunFolder) -> list[str]:
    record = read_record(folder)
    if record is None:
        return ["missing or damaged"] if folder.record.exists() else []
    return table(list(_record_rows(record)))


def _record_rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    git, hardware = record["git"], record["hardware"]
    yield "begun", record["time"] + (f", at {record['branch']}" if record.get("branch") else "")
    yield "command", shlex.join(record["command"]["argv"])
    yield "code", ", ".join([f"commit {(git['commit'] or 'none')[:SHORT_COMMIT]}", *_uncommitted_words(record)])
    yield "hardware", ", ".join(_hardware_words(hardware))
    packages = {"python": record["python"].partition(" ")[0], **record["packages"]}
    names = [name for name in ("python", *NUMERIC_PACKAGES) if name in packages]
    yield "packages", ", ".join(f"{name} {packages[name]}" for name in names)
    yield "data", ", ".join(f"{name} {value[:SHORT_HASH]}" for name, value in record["hashes"].items())
    steps = [session["from_step"] for session in record["sessions"]]
    if steps:
        yield "went on", f"after step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}"


def _uncommitted_words(record: Mapping[str, Any]) -> Iterator[str]:
    if began_with_uncommitted_code(record):
        yield "with uncommitted changes"
    for session in sessions_with_other_code(record):
        kept = session.get("code", {}).get("folder")  # sessions of earlier versions kept nothing
        yield f"other uncommitted changes after step {session['from_step']}{f' ({kept})' if kept else ''}"


def _hardware_words(hardware: Mapping[str, Any]) -> Iterator[str]:
    yield hardware["host"]
    yield from hardware.get("gpus") or [hardware["cpu"]]
    for name, word in (("processes", "process"), ("threads", "thread")):
        if name in hardware:
            many = "es" if word.endswith("s") else "s"
            yield f"{hardware[name]} {word}{many * (hardware[name] != 1)}"
    if "precision" in hardware:
        yield hardware["precision"]


def _curve_lines(folder: RunFolder) -> list[str]:
    records, rows, best_by = read_metrics(folder.metrics), [], folder.best_metric
    for metric in dict.fromkeys((TRAIN_LOSS, DEV_LOSS, best_by.key)):
        points = [(float(r[metric]), r["step"]) for r in records if is_number(r.get(metric))]
        if points:
            values = [value for value, _ in points]
            ends = f"{shown_number(values[0])} to {shown_number(values[-1])}"
            highest = best_by.highest and metric == best_by.key
            numbers = [(value, step) for value, step in points if not math.isnan(value)]
            end = (max if highest else min)(numbers, key=lambda point: point[0], default=None)
            word = "highest" if highest else "lowest"
            where = f", {word} {shown_number(end[0])} at step {end[1]}" if end else ""
            rows.append((metric, sparkline(values), ends + where))
    return table(rows)


def _evaluation_lines(folder: RunFolder) -> list[str]:
    results = folder.ledger.results()
    names = list(dict.fromkeys(name for result in results for name in result.metrics))
    rows = [
        (result.step, result.file.name, *(shown_number(result.metrics.get(name)) for name in names))
        for result in results
    ]
    return table(rows, ("step", "file", *names), (0, *range(2, 2 + len(names)))) if rows else []
