"""Where a run's model and tokenizer come from, judged by the files alone.

It stands apart from `modeling` and `tokenization` because it imports no torch: a folder that cannot serve is refused
before the libraries are imported, which takes seconds.
"""

from pathlib import Path

from dlib.args import ExperimentArgs
from dlib.args.tables import MODELS
from dlib.config.wandb_names import wandb_place
from dlib.models.hub import looks_like_path
from dlib.process.errors import UserError
from dlib.runs.finding import refuse_missing_checkpoint, resolve_model_folder
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin", "*.safetensors.index.json", "pytorch_model*.bin.index.json")

TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
"""A local folder with none of these carries no tokenizer. (transformers may invent an empty one.)"""


def find_source(args: ExperimentArgs, last_checkpoint: Path | None = None) -> str:
    """Name or folder of the model that a run starts from: its own last checkpoint, else `--checkpoint`, else `--model`.

    The last checkpoint holds all that a run goes on with, and what it started from may be gone by now.

    Raises:
        UserError: the checkpoint cannot be had, or a folder is none that the run can start from.
    """
    if last_checkpoint is not None:
        return str(CheckpointFolder(last_checkpoint).model)
    model = args.model
    if model.tokenizer is not None:
        refuse_missing_tokenizer(model.tokenizer)
    if model.checkpoint is None:
        refuse_other_folder(model.model)
        if not model.from_scratch:
            refuse_missing_weights("--model", model.model, "add --from_scratch to draw new ones")
        return model.model
    source = find_checkpoint_model(args, model.checkpoint)
    refuse_missing_weights("--checkpoint", source, "give another checkpoint")
    return source


def flag_of_source(args: ExperimentArgs, last_checkpoint: Path | None = None) -> str:
    """What named the model that `find_source` finds, for errors."""
    if last_checkpoint is not None:
        return "the checkpoint"
    return "--model" if args.model.checkpoint is None else "--checkpoint"


def find_checkpoint_model(args: ExperimentArgs, checkpoint: str) -> str:
    """The model's folder of `--checkpoint`, fetched from W&B where it names one there.

    Raises:
        UserError: there is none.
    """
    if not checkpoint.startswith("wandb:"):
        run = RunFolder(Path(args.run.out_dir, checkpoint))
        folder = run.root if run.config.is_file() and not Path(checkpoint).is_dir() else Path(checkpoint)
        if not folder.is_dir():
            for path in (folder, run.root):
                refuse_missing_checkpoint(path)
            raise UserError(
                f"--checkpoint {checkpoint}: there is no such folder, and no run of that name in {args.run.out_dir}: "
                "see runs.py list"
            )
        return str(resolve_model_folder(folder))
    from dlib.tracking.wandb_checkpoints import fetch_checkpoint  # only here: most runs start from elsewhere

    place = wandb_place(args.tracking)
    folder = fetch_checkpoint(checkpoint, Path(args.data.cache_dir), args.tracking.offline, *place)
    return str(resolve_model_folder(folder))


def refuse_other_folder(source: str) -> None:
    """Refuse a path of `--model` that leads to no model: to nothing, a run, a checkpoint, or no configuration."""
    folder = Path(source)
    refuse_missing_folder("--model", source)
    if source in MODELS or not folder.is_dir() or (folder / "config.json").is_file():
        return
    try:
        model = resolve_model_folder(folder)
    except UserError:
        raise UserError(f"--model {source}: the folder has no config.json") from None
    raise UserError(f"--model {source} is a run or a checkpoint: give it with --checkpoint, or name its model, {model}")


def refuse_missing_folder(flag: str, source: str) -> None:
    """Refuse what can only be meant as a path, and leads to no folder."""
    if looks_like_path(source) and not Path(source).is_dir():
        raise UserError(f"{flag} {source}: there is no such folder")


def refuse_missing_weights(flag: str, source: str, advice: str) -> None:
    """Refuse a local folder that has a configuration and no weights, and a name in `MODELS`, which never has any."""
    if source in MODELS:
        raise UserError(f"{flag} {source} is a network of one's own, which has no weights; {advice}")
    folder = Path(source)
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        raise UserError(f"{flag} {source}: the folder has no weights; {advice}")


def refuse_missing_tokenizer(source: str) -> None:
    """Refuse a path of `--tokenizer` that leads to no tokenizer."""
    refuse_missing_folder("--tokenizer", source)
    if Path(source).is_dir() and not has_tokenizer(Path(source)):
        raise UserError(f"--tokenizer {source}: the folder has no tokenizer.json or vocabulary")


def has_tokenizer(folder: Path) -> bool:
    """Whether a local folder carries a tokenizer."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)
