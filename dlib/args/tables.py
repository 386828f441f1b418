"""What can be chosen by name: one line an entry, `"module:name"`, so that a choice costs no import of torch.

    a new objective     a file in dlib/objectives/ and a line in OBJECTIVES
    a new optimizer     a function in dlib/training/ and a line in OPTIMIZERS
    a new network       a file in dlib/models/ and a line in MODELS
    a new tracker       a file in dlib/tracking/ and a line in TRACKERS
    a new strategy      a function in dlib/training/ and a line in STRATEGIES
    a new data format   a function in dlib/data/formats.py and a line in FORMATS there

An objective or optimizer with arguments of its own names their dataclass as well. It stands in a file without torch,
because `--help` reads it; its fields join the section `objective` or `optim`.
"""

import importlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from dlib.args.fields import facts_of
from dlib.process.errors import UserError

ROOT = Path(__file__).parents[2]


class Plugin(NamedTuple):
    """Where an entry is found."""

    implementation: str  # the class or function
    args: str | None = None  # the dataclass of its own arguments, if it has any


class ProcessStrategy(NamedTuple):
    """Where a strategy is found, and what it is for."""

    implementation: str  # the function
    accelerators: tuple[str, ...] = ("cpu", "cuda", "mps")  # the kinds of device that it is for
    shards: bool = False  # whether a process holds parts of the weights, or of the optimizer's state
    package: str | None = None  # what has to be installed for it


OBJECTIVES: dict[str, Plugin] = {
    "mlm": Plugin("dlib.objectives.mlm:MaskedLanguageModeling", "dlib.objectives.mlm_args:MlmArgs"),
    "clm": Plugin(
        "dlib.objectives.clm:CausalLanguageModeling", "dlib.objectives.token_prediction_args:TokenPredictionArgs"
    ),
    "metadata_clm": Plugin(
        "dlib.objectives.metadata_clm:MetadataLanguageModeling", "dlib.objectives.metadata_clm_args:MetadataArgs"
    ),
    "question_answering": Plugin(
        "dlib.objectives.question_answering:QuestionAnswering",
        "dlib.objectives.question_answering_args:QuestionAnsweringArgs",
    ),
    "replaced_token_detection": Plugin(
        "dlib.objectives.replaced_token_detection:ReplacedTokenDetection",
        "dlib.objectives.replaced_token_detection_args:ReplacedTokenDetectionArgs",
    ),
    "seq2seq": Plugin("dlib.objectives.seq2seq:SequenceToSequence", "dlib.objectives.seq2seq_args:Seq2SeqArgs"),
    "span_corruption": Plugin(
        "dlib.objectives.span_corruption:SpanCorruption", "dlib.objectives.span_corruption_args:SpanCorruptionArgs"
    ),
    "sequence_classification": Plugin(
        "dlib.objectives.sequence_classification:SequenceClassification",
        "dlib.objectives.sequence_classification_args:SequenceClassificationArgs",
    ),
    "token_classification": Plugin("dlib.objectives.token_classification:TokenClassification"),
    "multiple_choice": Plugin("dlib.objectives.multiple_choice:MultipleChoice"),
}
OPTIMIZERS: dict[str, Plugin] = {
    "adamw": Plugin("dlib.training.optimizers:build_adamw", "dlib.training.optimizer_args:AdamWArgs"),
    "sgd": Plugin("dlib.training.optimizers:build_sgd", "dlib.training.optimizer_args:SgdArgs"),
    "adafactor": Plugin("dlib.training.optimizers:build_adafactor", "dlib.training.optimizer_args:AdafactorArgs"),
    "muon": Plugin("dlib.training.muon:build_muon", "dlib.training.optimizer_args:MuonArgs"),
}
STRATEGIES: dict[str, ProcessStrategy] = {
    "auto": ProcessStrategy("dlib.training.strategies:build_auto"),
    "ddp": ProcessStrategy("dlib.training.strategies:build_ddp"),
    "ddp_find_unused": ProcessStrategy("dlib.training.strategies:build_ddp_find_unused"),
    "fsdp": ProcessStrategy("dlib.training.sharding:build_fsdp", ("cpu", "cuda"), shards=True),
    "deepspeed_stage_2": ProcessStrategy("dlib.training.deepspeed:build_stage_2", ("cuda",), True, "deepspeed"),
    "deepspeed_stage_3_offload": ProcessStrategy(
        "dlib.training.deepspeed:build_stage_3_offload", ("cuda",), True, "deepspeed"
    ),
}
"""How several devices share the work: functions that make a strategy of Lightning's."""
MODELS: dict[str, str] = {
    # "my-lstm": "dlib.models.my_lstm:MyLSTM",
}
"""Networks that are not Hugging Face's, by the name that `--model` takes."""
TRACKERS: dict[str, str] = {
    "wandb": "dlib.tracking.weights_and_biases:WandbTracker",
    "tensorboard": "dlib.tracking.tensorboard:TensorBoardTracker",
}
"""Where numbers go besides metrics.jsonl."""


def load(reference: str) -> Any:
    """Import what an entry names.

    Raises:
        UserError: there is no such module or name, or the module lacks a package.
    """
    module, _, name = reference.partition(":")
    place = f'dlib/args/tables.py: "{reference}"'
    if not module or not name:
        raise UserError(f"{place}: write module:name")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{place} cannot be imported: {error}") from error
    if not hasattr(found, name):
        raise UserError(f"{place}: {module} has no {name}")
    return getattr(found, name)


def when_evaluated(objective: str) -> dict[str, Any]:
    """What `eval.py` takes in place of a run's own values of the objective's arguments, by full key."""
    own = OBJECTIVES[objective].args if objective in OBJECTIVES else None
    declared = fields(load(own)) if own else ()
    return {
        f"objective.{field.name}": value for field in declared if (value := facts_of(field).when_evaluated) is not None
    }


def first_lines(table: Mapping[str, Plugin]) -> dict[str, str]:
    """What each entry is, as the first line of its file says; nothing is imported for it."""
    modules = {name: entry.implementation.partition(":")[0] for name, entry in table.items()}
    files = {name: ROOT.joinpath(*module.split(".")).with_suffix(".py") for name, module in modules.items()}
    return {name: first_line(file).strip('".\n ') if file.is_file() else "" for name, file in files.items()}


def first_line(file: Path) -> str:
    """The first line of a file."""
    with file.open(encoding="utf-8") as opened:
        return opened.readline()


def arguments_of(table: Mapping[str, Plugin]) -> tuple[type, ...]:
    """The argument classes of a table's entries, as bases of a dataclass: it lists the fields of its last base first.

    Raises:
        UserError: an entry names no dataclass.
    """
    classes = [load(entry.args) for entry in reversed([*table.values()]) if entry.args]
    for own in classes:
        if "__dataclass_fields__" not in vars(own):
            raise UserError(f"{own.__module__}.{own.__name__} is no dataclass: write @dataclass above it")
    return tuple(dict.fromkeys(own for own in classes if not any(own in other.__mro__[1:] for other in classes)))
