"""What a path leads to: the model of a run or checkpoint, or the checkpoint of a run."""

import re
from pathlib import Path

from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder, checkpoint_step

_NAMES_CHECKPOINT = re.compile(r"step-\d+|last|best")


def resolve_model_folder(path: Path) -> Path:
    """The folder that transformers loads, for a run (its best checkpoint, else its last), a checkpoint or a model.

    Raises:
        UserError: there is no such folder, or nothing in it to load.
    """
    if not path.is_dir():
        refuse_missing_checkpoint(path)
        raise UserError(f"no folder '{path}': give a run, a checkpoint or a Hugging Face folder")
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    run = RunFolder(path)
    newest = [folder for _, folder in run.whole_checkpoints()[-1:]]
    for checkpoint in (run.best, run.last, *newest):
        if ((model := CheckpointFolder(checkpoint).model) / "config.json").is_file():
            return model
    raise UserError(f"nothing to load in '{path}': it has neither config.json nor model/ nor a whole checkpoint")


def refuse_missing_checkpoint(path: Path) -> None:
    """Refuse a path that can only mean a checkpoint of a run, which does not have it.

    Raises:
        UserError: it says which checkpoints there are.
    """
    folder = path.parent if path.name == "model" else path
    runs = [run for run in map(RunFolder, folder.parents[:2]) if run.config.is_file()]
    if folder.is_dir() or not runs or not _NAMES_CHECKPOINT.fullmatch(folder.name):
        return
    run = runs[0]
    steps = [step for step, _ in run.whole_checkpoints()]
    if folder.name in run.ledger.pinned():  # removed, and kept for an evaluation
        return
    there = f"{', '.join(map(str, steps))}; write {run.checkpoint(steps[-1])}" if steps else "none"
    raise UserError(f"{path}: no such checkpoint: run '{run.name}' has {there}")


def find_checkpoint(path: Path) -> tuple[RunFolder, int] | None:
    """The run and step of a checkpoint's folder, its model/ or a link to it; None if no run has it."""
    folder = path.resolve()
    folder = folder.parent if folder.name == "model" else folder
    step = checkpoint_step(folder.name)
    run = RunFolder(folder.parent.parent)
    is_a_run_s = folder.parent == run.checkpoints and run.config.is_file()
    return (run, step) if step is not None and is_a_run_s else None
