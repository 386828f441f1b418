"""The checkpoints of runs: which there are, and removing some for good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlib.browse.asking import agrees
from dlib.browse.tables import printable, shown_number, shown_size, table
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import refuse_live
from dlib.runs.metrics_log import DEV_LOSS, record_of_step
from dlib.runs.paths import step_name
from dlib.runs.registry import tree_bytes

HEADER = ("step", "size", "dev loss", "")
NUMBERS = (0, 1, 2)
PROTECTED = ("best", "last")


def print_checkpoints(folders: Sequence[RunFolder]) -> None:
    """Print one line for each whole checkpoint, of several runs below the run's name."""
    for number, folder in enumerate(folders):
        lines = checkpoint_table(folder) or [f"run '{printable(folder.name)}' has no checkpoint"]
        if len(folders) > 1:
            lines = ["\n" * (number > 0) + printable(folder.name), *(f"  {line}" for line in lines)]
        print("\n".join(lines))


def checkpoint_table(folder: RunFolder) -> list[str]:
    """One line for each whole checkpoint, below a header; nothing without checkpoints."""
    rows = [
        (c["step"], shown_size(c["size_bytes"]), shown_number(c["dev_loss"]), ", ".join(c["names"]))
        for c in describe_checkpoints(folder)
    ]
    return table(rows, HEADER, NUMBERS) if rows else []


def describe_checkpoints(folder: RunFolder) -> list[dict[str, Any]]:
    """Step, size, dev loss and the links of each whole checkpoint."""
    pointed = {name: folder.pointed_step(name) for name in PROTECTED}
    return [
        {
            "step": step,
            "size_bytes": tree_bytes(path),
            "dev_loss": (record_of_step(folder.metrics, step) or {}).get(DEV_LOSS),
            "names": [name for name in PROTECTED if pointed[name] == step],
        }
        for step, path in folder.whole_checkpoints()
    ]


@dataclass(frozen=True)
class Choice:
    """Which checkpoints are removed: the steps to delete, or to keep, or how many of the newest to keep."""

    delete: Sequence[int] | None = None
    keep: Sequence[int] | None = None
    keep_newest: int | None = None


def remove_checkpoints(folders: Sequence[RunFolder], choice: Choice, *, yes: bool) -> None:
    """Remove checkpoints for good, after asking unless `yes`; never the best or the last, which a run resumes from.

    Raises:
        UserError: a run is live, there is no such checkpoint, or it is the best or the last: then none is removed.
    """
    for folder in folders:
        refuse_live(folder)
    doomed = {folder: steps for folder in folders if (steps := _removable_steps(folder, choice))}
    if not doomed:
        print("nothing to remove")
    elif agrees(_question(doomed, several=len(folders) > 1), yes=yes):
        sizes = [_remove(folder, steps, choice) for folder, steps in doomed.items()]
        count, size, held = map(sum, zip(*sizes, strict=True))
        freed = shown_size(max(0, size - held)) + f"; an evaluation still holds {shown_size(held)}" * (held > 0)
        print(f"removed {count} checkpoint{'s' * (count != 1)} ({freed})")


def _question(doomed: Mapping[RunFolder, Sequence[int]], *, several: bool) -> str:
    """What is asked before these steps are removed; those of several runs are printed first."""
    size = shown_size(sum(tree_bytes(folder.checkpoint(step)) for folder, steps in doomed.items() for step in steps))
    steps = [step for of_run in doomed.values() for step in of_run]
    s = "s" * (len(steps) > 1)
    if not several:
        return f"Remove the checkpoint{s} of step{s} {', '.join(map(str, steps))} ({size}) for good?"
    print("\n".join(table([(folder.name, ", ".join(map(str, of_run))) for folder, of_run in doomed.items()])))
    return f"Remove {len(steps)} checkpoint{s} of {len(doomed)} run{'s' * (len(doomed) > 1)} ({size}) for good?"


def _remove(folder: RunFolder, steps: Sequence[int], choice: Choice) -> tuple[int, int, int]:
    """Remove the checkpoints of these steps; how many, their bytes, and those that evaluations still hold of them.

    The run may have gone on while the user thought: what is the best or the last by now stays.
    """
    with folder.locked():
        still = {*_removable_steps(folder, choice)}
        doomed = [step for step in steps if step in still]
        size = sum(tree_bytes(folder.checkpoint(step)) for step in doomed)
        for step in doomed:
            folder.remove_checkpoint(step)
    pinned = folder.ledger.pinned()
    held = sum(tree_bytes(pinned[name]) for name in map(step_name, doomed) if name in pinned)
    return len(doomed), size, held


def _removable_steps(folder: RunFolder, choice: Choice) -> list[int]:
    """The steps that are to go and may."""
    present = [step for step, _ in folder.whole_checkpoints()]
    protected = {folder.pointed_step(name) for name in PROTECTED} | {*present[-1:]}
    doomed = _doomed(folder, choice, present)
    if choice.delete and protected & {*doomed}:
        step = min(step for step in doomed if step in protected)
        raise UserError(f"--delete {step}: it is the best or the last of run '{folder.name}', which stay")
    return [step for step in doomed if step not in protected]


def _doomed(folder: RunFolder, choice: Choice, present: Sequence[int]) -> list[int]:
    if choice.delete:
        return _there(folder, "--delete", choice.delete, present)
    if choice.keep:
        stay = _there(folder, "--keep", choice.keep, present)
        return [step for step in present if step not in stay]
    if choice.keep_newest is None or choice.keep_newest < 1:
        raise UserError(f"--keep_newest {choice.keep_newest}: give a number of checkpoints, at least 1")
    return list(present[: -choice.keep_newest])


def _there(folder: RunFolder, flag: str, steps: Sequence[int], present: Sequence[int]) -> list[int]:
    for step in steps:
        if step not in present:
            there = ", ".join(map(str, present)) or "none"
            raise UserError(f"{flag} {step}: no checkpoint of step {step} in run '{folder.name}': it has {there}")
    return sorted({*steps})
