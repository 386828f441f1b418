"""What a user may call a trained model: a run, a checkpoint, a Hugging Face folder, or a name on the hub."""

from contextlib import suppress
from pathlib import Path

from dlib.args import ExperimentArgs, RunArgs
from dlib.config.configuration import load_config
from dlib.models.hub import looks_like_path
from dlib.models.sources import has_tokenizer, refuse_missing_weights
from dlib.process.errors import UserError
from dlib.runs.finding import refuse_missing_checkpoint, resolve_model_folder
from dlib.runs.folder import RunFolder


def find_model(name: str | Path) -> str:
    """What transformers is to load: the folder inside a run (its best) or checkpoint, else the name on the hub.

    Raises:
        UserError: it is a path, and there is no such folder or nothing in it that can be loaded.
    """
    path = find_path(name)
    if path is None:
        refuse_missing_weights("the model", str(name), "give a run of it")
        return str(name)
    folder = resolve_model_folder(path)
    refuse_missing_weights("the model", str(folder), "save them beside its config.json")
    if not has_tokenizer(folder):
        raise UserError(f"{folder} has no tokenizer: save one beside the model")
    return str(folder)


def find_path(name: str | Path) -> Path | None:
    """The path that a name stands for, a run's own name included; None where it can only be a name on the hub.

    Raises:
        UserError: it names a checkpoint that its run does not have.
    """
    path, run = Path(name), RunFolder(Path(RunArgs().out_dir) / name)
    # `runs/frist` could be a name on the hub, but not where there is a folder `runs`.
    if path.exists() or looks_like_path(str(name)) or (len(path.parts) > 1 and path.parent.is_dir()):
        return path
    if len(path.parts) > 1:
        refuse_missing_checkpoint(run.root)  # `first/step-99`
    return run.root if len(path.parts) == 1 and run.config.is_file() else None


def has_learned(model: str, objective: str) -> bool:
    """Whether a model belongs to a run of an objective: then whatever else it trained lies beside it."""
    args = args_of_run(model)
    return args is not None and args.objective.objective == objective


def args_of_run(model: str) -> ExperimentArgs | None:
    """The arguments of the run that a model's folder belongs to; None where it is no run's."""
    parents = Path(model).resolve().parents
    if not Path(model).is_dir() or len(parents) < 3 or not RunFolder(parents[2]).config.is_file():
        return None
    with suppress(UserError):  # a run of another version can be asked all the same
        return load_config([RunFolder(parents[2]).config])
    return None
