"""The checkpoints of a run: which there are, and removing some for good."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlib.browse.asking import agrees
from dlib.browse.tables import shown_number, shown_size, table
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import refuse_live
from dlib.runs.metrics_log import DEV_LOSS, record_of_step
from dlib.runs.registry import tree_bytes

HEADER = ("step", "size", "dev loss", "")
NUMBERS = (0, 1, 2)
PROTECTED = ("best", "last")


def print_checkpoints(folder: RunFolder) -> None:
    """Print one line for each whole checkpoint."""
    lines = checkpoint_table(folder)
    print("\n".join(lines) if lines else f"run '{folder.name}' has no checkpoint")


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


def remove_checkpoints(folder: RunFolder, choice: Choice, *, yes: bool) -> None:
    """Remove checkpoints for good, after asking unless `yes`; never the best or the last, which the run resumes from.

    Raises:
        UserError: the run is live, there is no such checkpoint, or it is the best or the last.
    """
    refuse_live(folder)
    with folder.locked():
        present = [step for step, _ in folder.whole_checkpoints()]
        protected = {folder.pointed_step(name) for name in PROTECTED} | {*present[-1:]}
        doomed = _doomed(folder, choice, present)
        if choice.delete and protected & {*doomed}:
            step = min(step for step in doomed if step in protected)
            raise UserError(f"--delete {step}: it is the best or the last of run '{folder.name}', which stay")
        doomed = [step for step in doomed if step not in protected]
        if not doomed:
            print("nothing to remove")
            return
        size = sum(tree_bytes(folder.checkpoint(step)) for step in doomed)
        s = "s" * (len(doomed) > 1)
        steps = ", ".join(map(str, doomed))
        if agrees(f"Remove the checkpoint{s} of step{s} {steps} ({shown_size(size)}) for good?", yes=yes):
            for step in doomed:
                folder.remove_checkpoint(step)
            print(f"removed {len(doomed)} checkpoint{s} ({_freed(folder, doomed, size)})")


def _freed(folder: RunFolder, removed: Sequence[int], size_bytes: int) -> str:
    """The size of what was removed, without the models that evaluations still need."""
    pinned = folder.ledger.pinned()
    pins = [pinned[name] for name in (folder.checkpoint(step).name for step in removed) if name in pinned]
    held = sum(tree_bytes(pin) for pin in pins)
    freed = shown_size(max(0, size_bytes - held))
    return f"{freed}; an evaluation still holds {shown_size(held)}" if pins else freed


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
