"""All that a run is known by before it begins: devices, tokenizer, objective, text, plan. `--plan` ends after it.

It stands apart from `train.py`, whose story begins where something is computed; the run's folder is left as it is.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from dlib.args import ExperimentArgs
from dlib.data.data_module import TextData, build_text_data
from dlib.data.documents import settle_division
from dlib.data.splitting import settle_dev_split
from dlib.data.text import first_document
from dlib.data.token_roles import token_roles
from dlib.models.hub import choose_hub_mode
from dlib.models.limits import count_parameters
from dlib.models.loading import as_saved, build_meta_model
from dlib.models.sources import flag_of_source
from dlib.models.tokenization import add_tokens, build_tokenizer
from dlib.objectives import build_objective, objective_class
from dlib.objectives.objective import Objective
from dlib.process.errors import UserError
from dlib.training.checkpoints import estimate_checkpoint_bytes, refuse_damage
from dlib.training.devices import Devices
from dlib.training.plan import TrainingPlan, make_plan, shares, summarize
from dlib.training.preflight import Inputs


@dataclass(frozen=True)
class Preparation:
    """A run that could begin."""

    args: ExperimentArgs  # the experiment, with what a document is
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
        return {
            "hashes": self.data.fingerprints(self.objective.roles),
            "devices": self.devices.describe(self.args.hardware.distributed_strategy),
            **self.objective.describe(),
        }


def prepare(args: ExperimentArgs, inputs: Inputs, devices: Devices) -> Preparation:
    """Work out a run, of the arguments as `settle_hardware` leaves them.

    Raises:
        UserError: something of it cannot be had, or does not fit the rest.
    """
    choose_hub_mode([args.model.model, args.model.tokenizer], args.tracking.offline)
    source, flag, goes_on = inputs.source, flag_of_source(args, inputs.checkpoint), inputs.checkpoint is not None
    if inputs.checkpoint is not None:
        refuse_damage(inputs.checkpoint)
    kind = objective_class(args.objective.objective)
    columns = kind.columns_of(args.objective)
    if args.data.document_mask and not kind.keeps_documents_apart:
        raise UserError(f"--document_mask: the rows of --objective {args.objective.objective} cannot be kept apart")
    division = settle_division(args.data, inputs.texts.train, columns)
    args = replace(args, data=replace(args.data, document=division.document))
    args = replace(args, data=settle_dev_split(args.data, inputs.texts, columns))
    for text in (*inputs.texts.training, *inputs.texts.development):  # what lacks a column is told at once
        first_document(text.file, columns, args.data.encoding_errors)
    tokenizer = build_tokenizer(
        args,
        inputs.texts.train,
        source,
        open_ended=kind.open_ended,
        leads=kind.leads,
        goes_on=goes_on,
        columns=columns,
        further=[text.file for text in inputs.texts.training[1:]],
    )
    add_tokens(tokenizer, kind.special_tokens_of(args.objective))
    objective = build_objective(args.objective, token_roles(tokenizer), tokenizer)
    data = build_text_data(
        args.data,
        inputs.texts,
        tokenizer,
        objective.roles,
        columns=columns,
        close_truncated=not objective.open_ended,
        own_rows=objective.rows,
    )
    objective.study(data.train_store, data.dev_store)
    plan = make_plan(args, data.train)
    model_args = as_saved(args) if goes_on else args
    model = build_meta_model(model_args, source, tokenizer, objective.head, flag)
    modules = nn.ModuleDict(objective.build_modules(model))
    parameters, size = count_parameters(model), estimate_checkpoint_bytes(model, args.optim, modules)
    own_parameters = {name: count_parameters(module) for name, module in modules.items()}
    documents = f"{data.describe_documents()}; {division.reason}"
    texts = {**shares(data.train, plan), **data.describe_split(args.data)}
    summary = summarize(args, plan, devices, source, parameters, size, own_parameters, documents, texts)
    return Preparation(args, devices, source, flag, tokenizer, objective, data, plan, parameters, size, summary)
