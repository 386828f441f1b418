"""The checkpoints of a run: which there are, and removing some for good."""

from collections.abc import Sequence
from typing import Any

from dlib.errors import UserError
from dlib.runs.asking import agrees
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import refuse_live
from dlib.runs.metrics_log import BEST_BY, record_of_step
from dlib.runs.registry import tree_bytes
from dlib.runs.tables import shown_number, shown_size, table

HEADER = ("step", "size", "dev loss", "")
NUMBERS = (0, 1, 2)
PROTECTED = ("best", "last")


def print_checkpoints(folder: RunFolder) -> None:
    """Print a line a whole checkpoint."""
    lines = checkpoint_table(folder)
    print("\n".join(lines) if lines else f"run '{folder.name}' has no checkpoint")


def checkpoint_table(folder: RunFolder) -> list[str]:
    """A line a whole checkpoint, below a header; nothing where there is none."""
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
            "dev_loss": (record_of_step(folder.metrics, step) or {}).get(BEST_BY),
            "names": [name for name in PROTECTED if pointed[name] == step],
        }
        for step, path in folder.whole_checkpoints()
    ]


def remove_checkpoints(
    folder: RunFolder, delete: Sequence[int] | None, keep: Sequence[int] | None, *, yes: bool
) -> None:
    """Remove checkpoints for good, after asking. The best and the last stay: the run goes on from them.

    Args:
        folder: the run.
        delete: the steps whose checkpoints go; or None, and instead
        keep: the steps whose checkpoints stay, or one number that is no such step: so many of the newest.
        yes: do not ask.

    Raises:
        UserError: the run is live, there is no such checkpoint, or it is the best or the last.
    """
    refuse_live(folder)
    with folder.locked():
        present = [step for step, _ in folder.whole_checkpoints()]
        protected = {folder.pointed_step(name) for name in PROTECTED} | {*present[-1:]}
        doomed = _chosen(folder, delete, present) if delete else _others(folder, keep or (), present)
        if delete and protected & {*doomed}:
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
            print(f"removed {len(doomed)} checkpoint{s} ({shown_size(size)})")


def _chosen(folder: RunFolder, steps: Sequence[int], present: Sequence[int]) -> list[int]:
    for step in steps:
        if step not in present:
            there = ", ".join(map(str, present)) or "none"
            raise UserError(f"no checkpoint of step {step} in run '{folder.name}': it has {there}")
    return sorted({*steps})


def _others(folder: RunFolder, keep: Sequence[int], present: Sequence[int]) -> list[int]:
    if len(keep) == 1 and keep[0] not in present:
        if not 1 <= keep[0] <= max(present, default=0):
            raise UserError(f"--keep {keep[0]}: give a number of checkpoints, at least 1, or their steps")
        return list(present[: -keep[0]])
    stay = _chosen(folder, keep, present)
    return [step for step in present if step not in stay]
