"""How a repetition differs from its run: records, numbers, checkpoints. It starts nothing; it reads two run folders."""

import filecmp
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder

COMPUTED_BY = ("cpu", "accelerator", "gpus", "processes", "threads", "precision", "shards")
"""What of the hardware decides how sums are added up."""
NUMERIC_PACKAGES = ("torch", "transformers", "lightning", "numpy", "tokenizers", "safetensors")
"""Told before the others."""
OWN_PACKAGE = __name__.partition(".")[0]
"""The clone itself, where it is installed (docs/python.md): its code is in the record, and its version says nothing."""
SHOWN = 5
SHORT_COMMIT = 10


def describe_changes(
    here: RunFolder, run: RunFolder, records: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> list[str]:
    """One line each for hardware, packages, data and code of a repetition: the same as recorded, or what changed."""
    ours, theirs = records
    changes = {
        "hardware": hardware_changes(ours["hardware"], theirs["hardware"]),
        "packages": package_changes(ours, theirs),
        "data": data_changes(ours["hashes"], theirs["hashes"]),
        "code": code_changes(here, run, records),
    }
    left_out = theirs["code"]["left_out"]
    unknown = f"; not in the record: {shortened(list(left_out))}" if left_out else ""
    lines = [f"{name}: {f'changed: {shortened(found)}' if found else 'the same'}" for name, found in changes.items()]
    return [*lines[:-1], lines[-1] + unknown]


def shortened(words: Sequence[str]) -> str:
    """The first few words, and the number of the others."""
    more = f", and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def hardware_changes(here: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """What of the hardware that enters the numbers differs, as far as the record says."""
    names = [name for name in COMPUTED_BY if name in run and here.get(name) != run[name]]
    return [f"{name} {_listed(here.get(name))} was {_listed(run[name])}" for name in names]


def package_changes(here: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Packages, Python and platform of another version; those that compute come first."""
    ours, theirs = _versions(here), _versions(run)
    names = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    names.sort(key=lambda name: (name not in NUMERIC_PACKAGES, name == "platform"))
    return [f"{name} {ours.get(name, 'missing')} was {theirs.get(name, 'missing')}" for name in names]


def data_changes(here: Mapping[str, str], run: Mapping[str, str]) -> list[str]:
    """Names of texts, tokenizer or starting weights that have another hash."""
    return [name for name in run if name in here and here[name] != run[name]]


def code_changes(here: RunFolder, run: RunFolder, records: tuple[Mapping[str, Any], Mapping[str, Any]]) -> list[str]:
    """Commit, uncommitted changes and untracked files that differ."""
    ours, theirs = (record["git"]["commit"] or "none" for record in records)
    changes = [f"commit {ours[:SHORT_COMMIT]} was {theirs[:SHORT_COMMIT]}"] if ours != theirs else []
    if _content(here.uncommitted_diff) != _content(run.uncommitted_diff):
        changes.append("uncommitted changes")
    names = sorted(_names_below(here.untracked) | _names_below(run.untracked))
    return changes + [name for name in names if _content(here.untracked / name) != _content(run.untracked / name)]


def session_code_changes(session: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """What of the code changed since the run's first session."""
    words = {"commit": "commit", "uncommitted_sha256": "uncommitted changes"}
    ours, theirs = session["git"], record["git"]
    return [words[name] for name in words if name in theirs and ours.get(name) != theirs[name]]


def later_changes(record: Mapping[str, Any]) -> Iterator[str]:
    """What changed when the run was resumed: a repetition computes everything as in the run's first session."""
    for session in record["sessions"]:
        changes = [
            *hardware_changes(session["hardware"], record["hardware"]),
            *session.get("changed_packages", ()),
            *session_code_changes(session, record),
            *([f"--eval_interval {session['eval_interval']}"] if "eval_interval" in session else []),
        ]
        if changes:
            yield f"from step {session['from_step']} on the run itself went on with changes: {', '.join(changes)}"


@dataclass(frozen=True)
class Difference:
    """The first number or file that differs, at a number of optimizer steps done; `what` names both values."""

    step: int
    what: str

    def __str__(self) -> str:
        """As the report says it."""
        return f"differs at step {self.step}: {self.what}"


@dataclass
class NumbersComparison:
    """Compares the records of a repetition with those of a run, bitwise, as they come."""

    waiting: deque[dict[str, Any]]  # the run's records still to be compared, by step
    evaluated_elsewhere: bool = False  # whether the run was evaluated at other steps than its repetition
    compared_step: int = 0  # the newest step that was the same on both sides
    new_names: set[str] = field(default_factory=set)  # metrics that only the repetition records; they are no difference

    def take(self, record: Mapping[str, Any]) -> Difference | None:
        """Compare the repetition's next record; a step that the run did not record is skipped."""
        while self.evaluated_elsewhere and self.waiting and record["step"] > self.waiting[0]["step"]:
            self.waiting.popleft()
        if not self.waiting or record["step"] < self.waiting[0]["step"]:
            return None
        expected = self.waiting.popleft()
        if self.evaluated_elsewhere:
            record, expected = (_without_evaluation(each) for each in (record, expected))
        if record["step"] > expected["step"]:
            return Difference(expected["step"], "no record here, one in the run")
        self.new_names |= record.keys() - expected.keys()
        for name, value in expected.items():
            if name not in record or not is_same(record[name], value):
                return Difference(expected["step"], describe_values(name, record.get(name), value))
        self.compared_step = expected["step"]
        return None


def _without_evaluation(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.startswith("dev/")}


def records_up_to(records: Iterable[dict[str, Any]], steps: int | None) -> deque[dict[str, Any]]:
    """The records until one has reached `steps`; None: all."""
    kept: deque[dict[str, Any]] = deque()
    for record in records:
        kept.append(record)
        if steps is not None and record["step"] >= steps:
            break
    return kept


def is_same(here: Any, run: Any) -> bool:
    """Whether two values of metrics.jsonl have the same bits; one that is not finite is a word there."""
    if isinstance(here, float) and isinstance(run, float):
        return here == run and math.copysign(1, here) == math.copysign(1, run)
    return bool(here == run)


def describe_values(name: str, here: Any, run: Any) -> str:
    """Both values of a metric, and their relative difference."""
    if here is None:
        return f"{name} is not recorded here, and {run!r} in the run"
    are_numbers = all(isinstance(value, (int, float)) for value in (here, run))
    relative = f" (relative {abs(here - run) / abs(run):.1e})" if are_numbers and run else ""
    return f"{name} {here} here, {run} in the run{relative}"


def differing_file(here: Path, run: Path) -> str | None:
    """Name of the first file of two checkpoints that differs, weights or training state; None if none does."""
    ours, theirs = CheckpointFolder(here), CheckpointFolder(run)
    weights = sorted({path.name for folder in (ours, theirs) for path in folder.model.glob("*.safetensors")})
    pairs = [(ours.model / name, theirs.model / name) for name in weights] + [(ours.state, theirs.state)]
    for our_file, their_file in pairs:
        are_there = our_file.is_file() and their_file.is_file()
        if not are_there or not filecmp.cmp(our_file, their_file, shallow=False):
            return our_file.name
    return None


def _listed(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    python, _, _ = record["python"].partition(" ")
    packages = {name: version for name, version in record["packages"].items() if name != OWN_PACKAGE}
    return {**packages, "python": python, "platform": record["platform"]}


def _names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
