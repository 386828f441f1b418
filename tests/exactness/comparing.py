"""What two runs have in common, and what a kill left: findings in words, so that a test and a benchmark can tell them.

It stands apart from the tests because killing, stopping and resuming promise the same end.
"""

import json
from pathlib import Path

from safetensors.torch import load_file

from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.training.checkpoints import read_training_state


def contents(checkpoint: Path) -> dict[str, bytes]:
    """The bytes of each file of a checkpoint."""
    return {str(path.relative_to(checkpoint)): path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()}


def assert_same_end(folder: RunFolder, other: RunFolder) -> None:
    """Both runs ended with the same records and the same last and best checkpoints, byte for byte."""
    assert folder.metrics.read_bytes() == other.metrics.read_bytes()
    for one, two in ((folder.last, other.last), (folder.best, other.best)):
        assert one.readlink() == two.readlink()
        assert contents(one) == contents(two)


def differences(folder: RunFolder, undisturbed: RunFolder) -> list[str]:
    """In what an ended run that kept all its checkpoints differs from the undisturbed one; nothing may."""
    found = damage(folder, undisturbed)
    if folder.metrics.read_bytes() != undisturbed.metrics.read_bytes():
        found.append("metrics.jsonl differs")
    steps, wanted = ([step for step, _ in run.whole_checkpoints()] for run in (folder, undisturbed))
    if steps != wanted:
        found.append(f"checkpoints of steps {steps}, not {wanted}")
    for name in ("last", "best"):
        if folder.pointed_step(name) != undisturbed.pointed_step(name):
            found.append(f"{name} is step {folder.pointed_step(name)}, not {undisturbed.pointed_step(name)}")
    return found


def damage(folder: RunFolder, undisturbed: RunFolder) -> list[str]:
    """What a kill left that it must not leave: half of something under its final name, or other bytes."""
    found = [finding for step, _ in folder.whole_checkpoints() for finding in damage_of(folder, step, undisturbed)]
    links = [link for link in (folder.last, folder.best) if link.is_symlink() and not link.is_dir()]
    found += [f"{link.name} leads nowhere" for link in links]
    records = folder.metrics.read_bytes() if folder.metrics.exists() else b""
    if not undisturbed.metrics.read_bytes().startswith(records):
        found.append("metrics.jsonl is not the beginning of the undisturbed one")
    if folder.status.exists() and folder.read_status() is None:
        found.append("status.json is damaged")
    if folder.record.exists() and not isinstance(json.loads(folder.record.read_bytes()), dict):
        found.append("record.json is damaged")
    return found


def damage_of(folder: RunFolder, step: int, undisturbed: RunFolder) -> list[str]:
    """What is wrong with the checkpoint of a step."""
    checkpoint = folder.checkpoint(step)
    try:
        load_file(CheckpointFolder(checkpoint).model / "model.safetensors")
        steps_done = read_training_state(checkpoint)["steps_done"]
    except Exception as error:
        return [f"{checkpoint.name} is half-written: {error}"]
    if steps_done != step:
        return [f"{checkpoint.name} is of step {steps_done}"]
    ours, theirs = contents(checkpoint), contents(undisturbed.checkpoint(step))
    names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    return [f"{checkpoint.name}: {name} differs" for name in names]
