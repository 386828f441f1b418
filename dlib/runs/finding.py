"""What a path leads to: the model of a run or checkpoint, or the checkpoint of a run."""

from pathlib import Path

from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder, checkpoint_step


def resolve_model_folder(path: Path) -> Path:
    """The folder that transformers loads, for a run (its best checkpoint, else its last), a checkpoint or a model.

    Raises:
        UserError: there is no such folder, or nothing in it to load.
    """
    if not path.is_dir():
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


def find_checkpoint(path: Path) -> tuple[RunFolder, int] | None:
    """The run and step of a checkpoint's folder, its model/ or a link to it; None if no run has it."""
    folder = path.resolve()
    folder = folder.parent if folder.name == "model" else folder
    step = checkpoint_step(folder.name)
    run = RunFolder(folder.parent.parent)
    is_a_run_s = folder.parent == run.checkpoints and run.config.is_file()
    return (run, step) if step is not None and is_a_run_s else None
