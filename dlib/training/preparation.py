"""All that a run is known by before it begins: devices, tokenizer, objective, text, plan. `--plan` ends after it.

It stands apart from `train.py`, whose story begins where something is computed; the run's folder is left as it is.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args import ExperimentArgs
from dlib.args.tables import STRATEGIES
from dlib.data.checking import check_documents
from dlib.data.documents import settle_division
from dlib.data.finding import TextFiles
from dlib.data.joined_store import joined, parts_of
from dlib.data.samples import Columns
from dlib.data.splitting import settle_dev_split
from dlib.data.text import first_document
from dlib.data.text_data import TextData, build_text_data
from dlib.data.token_roles import token_roles
from dlib.models.hub import choose_hub_mode, explain_loading
from dlib.models.limits import count_parameters
from dlib.models.loading import as_saved, build_meta_model
from dlib.models.new_weights import parts_drawn_anew
from dlib.models.sources import flag_of_source
from dlib.models.tokenization import add_tokens, build_tokenizer
from dlib.objectives import build_objective, columns_read, objective_class
from dlib.objectives.objective import Objective
from dlib.process.errors import UserError
from dlib.runs.continuity import has_another_goal
from dlib.training.checkpoints import estimate_checkpoint_bytes, refuse_damage
from dlib.training.course import refuse_other_course
from dlib.training.devices import Devices
from dlib.training.doubts import doubts
from dlib.training.micro_batch import choose_micro_batch_size
from dlib.training.plan import TrainingPlan, make_plan, shares, summarize
from dlib.training.preflight import Inputs


@dataclass(frozen=True)
class Preparation:
    """A run that could begin."""

    args: ExperimentArgs  # the experiment, with what a document is, and the micro-batch
    devices: Devices  # what it computes on
    source: str  # name or folder of the model that it starts from, or goes on with
    flag: str  # what named the source
    tokenizer: PreTrainedTokenizerBase  # its tokenizer
    objective: Objective  # what it is trained to do
    data: TextData  # its rows
    plan: TrainingPlan  # its steps
    parameters: tuple[int, int]  # number of all weights and of those that learn
    checkpoint_bytes: int  # about how large a checkpoint is going to be
    summary: str  # all of it in words

    def describe(self) -> dict[str, Any]:
        """What a run's folder keeps of it: hashes of its data, what it computes on, and what its objective says."""
        strategy = self.args.hardware.distributed_strategy
        shards = strategy if STRATEGIES[strategy].shards else "none"
        return {
            "hashes": self.data.fingerprints(self.objective.roles),
            "devices": {**self.devices.describe(strategy), "shards": shards},
            **self.objective.describe(),
        }


@dataclass(frozen=True)
class PreparedData:
    """What a run reads, tokenized."""

    args: ExperimentArgs  # the experiment, with what was settled by looking at the text
    tokenizer: PreTrainedTokenizerBase  # loaded, or trained on the text
    objective: Objective  # which has not studied the texts yet
    data: TextData  # their rows
    reason: str  # what a document is, and why


def prepare(args: ExperimentArgs, inputs: Inputs, devices: Devices) -> Preparation:
    """Work out a run, of the arguments as `settle_hardware` leaves them.

    Raises:
        UserError: something of it cannot be had, or does not fit the rest.
    """
    choose_hub_mode([args.model.model, args.model.tokenizer], args.tracking.offline)
    source, checkpoint = inputs.source, inputs.start.checkpoint
    flag, goes_on = flag_of_source(args, checkpoint), checkpoint is not None
    if checkpoint is not None:
        refuse_damage(checkpoint)
    prepared = prepare_data(args, inputs.texts, source, goes_on=goes_on)
    args, tokenizer, objective, data = prepared.args, prepared.tokenizer, prepared.objective, prepared.data
    objective.study(data.train_store, joined([dev.store for dev in data.dev_sets]))
    if objective.has_check:
        stores = (*parts_of(data.train_store), *(dev.store for dev in data.dev_sets))
        for text, store in zip((*inputs.texts.training, *inputs.texts.development), stores, strict=True):
            check_documents(store, text.file, args.data.document, objective.check)
    model_args = as_saved(args) if goes_on else args
    model = build_meta_model(model_args, source, tokenizer, objective.head, flag)
    modules = nn.ModuleDict(objective.build_modules(model))
    if args.batch.micro_batch_size is None:
        size = choose_micro_batch_size(args, devices, model, objective, modules, data.train)
        args = replace(args, batch=replace(args.batch, micro_batch_size=size))
    plan = make_plan(args, data.train)
    if inputs.begun is not None and has_another_goal(args, inputs.begun):
        refuse_other_course(args, inputs.begun, plan, data.train, inputs.start.step)
    parameters, size = count_parameters(model), estimate_checkpoint_bytes(model, args.optim, modules)
    own_parameters = {name: count_parameters(module) for name, module in modules.items()}
    documents = f"{data.describe_documents()}; {prepared.reason}"
    texts = {**shares(data.train, plan), **data.describe_selection(args.data)}
    drawn = "" if goes_on else describe_new_weights(args, model, source, flag)
    summary = summarize(args, plan, devices, source, parameters, size, own_parameters, documents, texts, drawn)
    summary = "\n".join([summary, *doubts(args, plan, data.train, devices.accelerator)])
    return Preparation(args, devices, source, flag, tokenizer, objective, data, plan, parameters, size, summary)


def describe_new_weights(args: ExperimentArgs, model: PreTrainedModel, source: str, flag: str) -> str:
    """Which weights of a run's beginning are drawn, in words.

    Raises:
        UserError: those that are there cannot be read.
    """
    if args.model.from_scratch:
        return "all"
    with explain_loading(flag, source):
        return ", ".join(parts_drawn_anew(model, source))


def prepare_data(args: ExperimentArgs, texts: TextFiles, source: str | None, *, goes_on: bool = False) -> PreparedData:
    """Tokenize the texts of a run, or find them tokenized; what `prepare.py` does ahead of it.

    Args:
        args: the experiment.
        texts: its texts.
        source: name or folder of its model, which may bring a tokenizer; None: it brings none.
        goes_on: whether that is the run's own checkpoint.

    Raises:
        UserError: a text cannot be read, or the tokenizer cannot be had.
    """
    kind = objective_class(args.objective.objective)
    columns = columns_read(args)
    if args.data.document_mask and not kind.keeps_documents_apart:
        raise UserError(f"--document_mask: the rows of --objective {args.objective.objective} cannot be kept apart")
    args, reason = settle_documents(args, texts, columns)
    for text in (*texts.training, *texts.development):  # what lacks a column is told at once
        first_document(text.file, columns, args.data.encoding_errors, args.data.document)
    tokenizer = build_tokenizer(
        args,
        texts.train,
        source,
        open_ended=kind.open_ended,
        leads=kind.leads,
        goes_on=goes_on,
        columns=columns,
        further=[text.file for text in texts.training[1:]],
    )
    add_tokens(tokenizer, kind.special_tokens_of(args.objective))
    objective = build_objective(args.objective, token_roles(tokenizer), tokenizer)
    data = build_text_data(
        args.data,
        texts,
        tokenizer,
        objective.roles,
        columns=columns,
        close_truncated=not objective.open_ended,
        own_rows=objective.rows,
    )
    return PreparedData(args, tokenizer, objective, data, reason)


def settle_documents(args: ExperimentArgs, texts: TextFiles, columns: Columns) -> tuple[ExperimentArgs, str]:
    """The arguments with what looking at the texts says: what a document is, and why; which are set apart.

    Raises:
        UserError: a text cannot be read, or has too few documents.
    """
    division = settle_division(args.data, [text.file for text in (*texts.training, *texts.development)], columns)
    args = replace(args, data=replace(args.data, document=division.document))
    return replace(args, data=settle_dev_split(args.data, texts, columns)), division.reason
