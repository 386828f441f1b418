"""What is evaluated: a checkpoint or a model, with the arguments of its run, the text, and the name of the result.

A run's `config.yml` says how it was evaluated in training. The same settings on the same text have the plain name
`step-00001000.json`; whatever differs gets a name of its own, so that nothing overwrites another thing's numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlib.args import ExperimentArgs
from dlib.args.fields import facts_of
from dlib.args.tables import OBJECTIVES, when_evaluated
from dlib.config.configuration import load_config
from dlib.config.fields import FIELDS, value_of
from dlib.config.wandb_names import wandb_place
from dlib.data.finding import Text, find_split
from dlib.data.fingerprint import filtered_sha256, text_sha256
from dlib.data.splitting import filter_of
from dlib.measuring.flags import Order
from dlib.measuring.settings import (
    describe_harness,
    known_measures,
    refuse_other_measures,
    settings_of_training,
    short_hash,
)
from dlib.models.names import find_path
from dlib.models.sources import refuse_missing_weights
from dlib.process.errors import UserError
from dlib.process.importing import without_collecting
from dlib.runs.finding import find_checkpoint, refuse_missing_checkpoint, resolve_model_folder
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.runs.record import read_record
from dlib.training.devices import find_devices
from dlib.training.preflight import refuse_unwritable_cache

DEFAULTS = ExperimentArgs()
DEVICES = {
    key: value_of(DEFAULTS, key)
    for key, field in FIELDS.items()
    if key.startswith("hardware.") and facts_of(field).free
}
"""An evaluation takes the devices that it finds: a run's own may be another machine's."""
NOT_FROM_RECORD = {**DEVICES, "model.trust_remote_code": False}
"""What a recorded configuration does not decide: nor whether code runs, as the run may be anybody's."""


OTHER_DEV_TEXTS: dict[str, Any] = {"data.dev": [], "data.dev_split": None}
"""What a run says of its development text otherwise than by --dev_file, which wins over it."""


@dataclass(frozen=True)
class Evaluation:
    """How a run's checkpoints, or a model, are to be evaluated.

    Attributes:
        args: the arguments of the run, with what the command line changes.
        order: what was asked for.
        text: the file and its limits; None where lm-eval has texts of its own.
        settings: all that the numbers depend on but for the weights.
        kind: what stands in a result's name after the checkpoint's; empty where the settings are those of training.
    """

    args: ExperimentArgs
    order: Order
    text: Text | None
    settings: dict[str, Any]
    kind: str


@dataclass(frozen=True)
class Subject:
    """One model to evaluate.

    Attributes:
        name: of the run or model.
        model: the folder, or name on the hub, that transformers loads.
        evaluation: how.
        run: the run that it belongs to, if any.
        step: its optimizer step, if it belongs to a run.
    """

    name: str
    model: str
    evaluation: Evaluation
    run: RunFolder | None = None
    step: int | None = None

    @property
    def checkpoint(self) -> str:
        """Name of the checkpoint of a run."""
        assert self.run is not None
        assert self.step is not None
        return self.run.checkpoint(self.step).name


def find_subjects(target: str, order: Order) -> Iterator[Subject]:
    """The checkpoints that a word of the command line stands for: one, or with `--all` all of a run.

    Raises:
        UserError: it stands for nothing that can be evaluated.
    """
    path = find_path(target)
    if path is None:
        yield foreign_model(target, None, order)
        return
    refuse_missing_checkpoint(path)
    run, steps = RunFolder(path), []
    if run.config.is_file():
        steps = [step for step, _ in run.whole_checkpoints()]
        if not order.every_checkpoint:
            pointed = (run.pointed_step("best"), run.pointed_step("last"), *steps[-1:])
            steps = [step for step in pointed if step is not None][:1]
        if not steps:
            raise UserError(f"run '{run.name}' has no checkpoint yet; --watch {path} waits for them")
    elif found := find_checkpoint(path):
        run, steps = found[0], [found[1]]
    else:
        yield foreign_model(target, path, order)
        return
    evaluation = evaluation_of_run(run, order)
    for step in steps:
        model = CheckpointFolder(run.checkpoint(step)).model
        yield Subject(run.name, str(model), evaluation, run, step)


def evaluation_of_run(run: RunFolder, order: Order) -> Evaluation:
    """How the checkpoints of a run are to be evaluated.

    Raises:
        UserError: the text is missing, or an argument or a variable of W&B's does not fit the run.
    """
    recorded = load_config([run.config])
    objective = order.overrides.get("objective.objective", recorded.objective.objective)
    if objective != recorded.objective.objective:
        raise UserError(f"--objective {objective}: run '{run.name}' has learned {recorded.objective.objective}")
    overrides = order.overrides
    if order.split == "dev" and "data.dev_file" in overrides:
        overrides = {**overrides, **OTHER_DEV_TEXTS}
    args = args_to_evaluate(run, objective, overrides)
    if "wandb" in args.tracking.trackers:
        wandb_place(args.tracking)  # now, and not when the first numbers are there
    evaluation = make_evaluation(args, order)
    hashes = (read_record(run) or {}).get("hashes", {})
    own = settings_of_training(recorded, hashes.get("development text"))
    is_whole = recorded.data.limit_dev_rows is None
    return replace(evaluation, kind="") if is_whole and evaluation.settings == own else evaluation


def args_to_evaluate(run: RunFolder, objective: str, overrides: Mapping[str, Any]) -> ExperimentArgs:
    """The arguments of a run of an objective, but for what its record does not decide, and the overrides.

    Raises:
        UserError: an override is no value of its argument.
    """
    return load_config([run.config], {**NOT_FROM_RECORD, **when_evaluated(objective), **overrides})


def foreign_model(target: str, path: Path | None, order: Order) -> Subject:
    """A model that is no run's: a Hugging Face folder, or a name on the hub.

    Args:
        target: the word of the command line.
        path: the folder that it stands for; None where it is a name on the hub.
        order: what was asked for.

    Raises:
        UserError: there is no such folder, or it does not tell what it has learned.
    """
    model = target if path is None else str(resolve_model_folder(path))
    refuse_missing_weights("the model", model, "save them beside its config.json")
    # Whatever was configured for training is of no meaning here, least of all a tracker.
    overrides = {"tracking.trackers": ["none"], "model.model": model.replace("${", "\\${"), **order.overrides}
    if order.harness is not None:
        able = (name for name in OBJECTIVES if "harness" in known_measures(name))
        overrides.setdefault("objective.objective", next(able))
    elif "objective.objective" not in overrides:
        if path is None:
            names = " or ".join(OBJECTIVES)
            raise UserError(
                f"{target}: no run or folder; of a model on the hub say what it learned, with --objective {names}"
            )
        refuse_early(load_config([], overrides), order)
        overrides["objective.objective"] = recognize_saved(model, trust="model.trust_remote_code" in overrides)
    overrides = {**when_evaluated(overrides["objective.objective"]), **overrides}
    return Subject(target, model, make_evaluation(load_config([], overrides), order))


def refuse_early(args: ExperimentArgs, order: Order) -> None:
    """Refuse what is wrong whatever the model has learned, before the libraries are imported that can tell that."""
    find_split(args.data, order.split)
    refuse_unwritable_cache(args.data)
    find_devices(args.hardware)


def recognize_saved(model: str, *, trust: bool) -> str:
    """The objective that a model has learned which is no run's.

    Raises:
        UserError: it cannot be read, or has learned none that is known.
    """
    # Here and not above: they take seconds to import, and most models are those of runs.
    with without_collecting():
        from dlib.models.hub import explain_loading
        from dlib.models.pretrained import read_config
        from dlib.objectives.recognition import recognize

    with explain_loading("the model", model):
        config = read_config(model, trust_remote_code=trust)
    return recognize(config, model)


def make_evaluation(args: ExperimentArgs, order: Order) -> Evaluation:
    """The text, and the name that belongs to the settings.

    Raises:
        UserError: the text is missing, or the objective has no such measure.
    """
    refuse_other_measures(args, order)
    if order.harness is not None:
        settings: dict[str, Any] = {
            "harness": describe_harness(order.harness),
            "max_length": args.data.max_length,
            "precision": args.hardware.precision,
        }
        return Evaluation(args, order, None, settings, f"-harness-{short_hash(settings)}")
    text = find_split(args.data, order.split)
    refuse_unwritable_cache(args.data)
    settings = settings_of_training(args, hash_documents(args, order.split, text))
    if order.stride is not None:
        settings["stride"] = order.stride
    if order.pseudo_perplexity:
        settings["pseudo_perplexity"] = {"max_documents": order.max_documents}
    return Evaluation(args, order, text, settings, f"-{order.split_name}-{short_hash(settings)}")


def hash_documents(args: ExperimentArgs, split: str, text: Text) -> str:
    """The hash of a text, and of what says which of its documents stay, as a run's record has it."""
    sha256 = text_sha256(text.file, Path(args.data.cache_dir))
    if args.data.dev_split is not None or args.data.exclude:
        from dlib.objectives import columns_read  # here and not above: it takes seconds to import

        sha256 = filtered_sha256(sha256, filter_of(args.data, split, columns_read(args)).content)
    return filtered_sha256(sha256, text.corpus.limits)
