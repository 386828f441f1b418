"""What grows with the checkpoints that a run keeps, and with the runs of a workspace."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.growth_parts.row import Row, medians, of_process
from benchmarks.list_runs import write_runs
from benchmarks.soak_parts.processes import disk_bytes, observe
from benchmarks.soak_parts.workspace import runs
from dlib.runs.folder import RunFolder
from tests.launching import Place, write_corpus


def measure_runs(sizes: Sequence[int], root: Path, options: argparse.Namespace) -> Iterator[Row]:
    """List workspaces of each of these numbers of runs."""
    for count in sizes:
        workspace = root / str(count)
        write_runs(workspace, count)
        runs(workspace, "list")  # warms up
        listed = [of_process("runs.py list", runs(workspace, "list")) for _ in range(options.repeats)]
        yield Row(count, medians(listed))


def measure_checkpoints(sizes: Sequence[int], root: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Train a tiny model with a checkpoint a step until it has the most of them; then keep fewer and fewer."""
    place, most = Place(write_corpus(root / "data"), root / "cache", root / "runs"), max(sizes)
    folder = place.folder("kept")
    goal = f"--training_goal {10 * most + 100} --save_interval 1 --max_checkpoints -1 --eval_interval 100%"
    words = ["train.py", *place.arguments(folder.name, *goal.split())]
    began = observe(words, until=folder.checkpoint(most).is_dir)
    assert folder.checkpoint(most).is_dir(), began.stderr
    measured = {
        kept: medians([list_and_resume(folder, kept, words) for _ in range(options.repeats)])
        for kept in sorted(sizes, reverse=True)
    }
    yield from (Row(kept, measured[kept]) for kept in sizes)


def list_and_resume(folder: RunFolder, kept: int, words: Sequence[str]) -> dict[str, float]:
    """Remove all but the newest checkpoints, list these, and go on until there is one more."""
    workspace = folder.root.parent
    removed = runs(workspace, "checkpoints", folder.name, "--keep_newest", str(kept), "--yes")
    assert removed.status == 0, removed.stderr
    checkpoints = [step for step, _ in folder.whole_checkpoints()]
    assert len(checkpoints) == kept, checkpoints
    disk, further = disk_bytes([folder.checkpoints]), folder.checkpoint(checkpoints[-1] + 1)
    listed = runs(workspace, "checkpoints", folder.name)
    resumed = observe(words, seconds_between_looks=0.02, until=further.is_dir)
    assert further.is_dir(), resumed.stderr
    taken = of_process("runs.py checkpoints", listed) | of_process("to the next checkpoint", resumed)
    return {**taken, "disk, MB": disk / 10**6}
