"""What an objective says of itself. Everything else asks here, and nothing else knows which objectives there are.

    samples --collate--> batch --loss_sum--> a sum of losses     divided by the samples' weights over the whole step
                               --evaluate--> sums and items      --metrics--> the numbers of an evaluation

A new objective derives from this, or from `TokenPrediction` where it predicts tokens; docs/extending.md has examples.
Letters: B rows, T tokens a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args import ObjectiveArgs
from dlib.data.packing import Rows, RowSource
from dlib.data.samples import TEXT_ONLY, Columns, Sample
from dlib.data.token_roles import TokenRoles
from dlib.data.token_store import TokenStore
from dlib.models.head import Head
from dlib.runs.metrics_log import BestMetric

Batch = dict[str, Tensor]
"""What `collate` makes, by name: the inputs of the model, and what its output is compared with."""


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation gathers, of a batch or of all of them.

    Attributes:
        sums: numbers that add up over batches and processes, which add each of them exactly.
        items: whatever does not add up (the score of a pair, a text), one object a row, in the order of the rows.
    """

    sums: Mapping[str, float] = field(default_factory=dict)
    items: Sequence[Any] = ()


@dataclass(frozen=True)
class FurtherEvaluation:
    """Numbers that an objective has beside those of training, and that take longer.

    Attributes:
        prefix: of their names.
        names: which of the metrics are kept.
        rows: what is evaluated, in place of the text's rows.
        objective: what measures.
    """

    prefix: str
    names: Sequence[str]
    rows: Rows
    objective: "Objective"


def learns(module: nn.Module) -> bool:
    """Whether a network has weights that learn; a teacher has none."""
    return any(parameter.requires_grad for parameter in module.parameters())


def widened(logits: Tensor) -> Tensor:
    """Logits in single precision at least: a loss of half precision would be a coarse one."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


class Objective(ABC):
    """Samples in, a sum of losses out.

    The loss of a step is the sum over all its samples, divided by the sum of their weights, which is known before any
    forward pass: so no split of a step into micro-batches and processes changes the gradient.

    Attributes:
        args: `--objective` and the arguments of every objective, its own among them.
        roles: of the tokenizer's special tokens.
        tokenizer: for those that turn tokens back into text, in an evaluation.
        modules: networks of its own beside the model: they learn, are saved and come back (`build_modules`).
    """

    columns: ClassVar[Columns] = TEXT_ONLY
    """What it reads of each document (`columns_of`, where an argument says that)."""

    best_by: ClassVar[str] = "loss"
    """The metric that says which checkpoint is the best,"""
    best_is_highest: ClassVar[bool] = False
    """... and whether it is to be high."""

    open_ended: ClassVar[bool] = False
    """Whether it learns where texts end: then neither a row that was cut nor a prompt is closed by a separator."""

    leads: ClassVar[bool] = True
    """Whether the lead token stands before a text, in the eyes of a tokenizer that is trained for it."""

    special_tokens: ClassVar[tuple[str, ...]] = ()
    """What its tokenizer has to have besides (`special_tokens_of`, where an argument says that)."""

    auto_model: ClassVar[str]
    """Name of the transformers class that loads a model with the right head,"""
    auto_models: ClassVar[Mapping[str, str]] = {}
    """... and of those that do it for some, by the `model_type` of their configuration."""

    keeps_documents_apart: ClassVar[bool] = False
    """Whether its batches say which documents packed rows hold (`stack_documents`), for `--document_mask`."""

    looks_back_only: ClassVar[bool] = False
    """Whether no position may see what follows it."""

    forward_options: ClassVar[Mapping[str, Any]] = {}
    """Further arguments of the model's forward pass."""

    measures: ClassVar[tuple[str, ...]] = ()
    """Options of eval.py that it has further numbers for (`further_evaluations`)."""

    answerer: ClassVar[str | None] = None
    """What answers the lines of generate.py, as "module:Class" (`dlib.generation.predictor.Answerer`)."""

    card: ClassVar[Mapping[str, str]] = {"kind": "model"}
    """For a model card: `kind`, what was trained, in words; `pipeline_tag`, the hub's word for its use."""

    def __init__(
        self, args: ObjectiveArgs, roles: TokenRoles, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> None:
        """Keep the arguments, the tokenizer, and the roles of its special tokens."""
        self.args: Any = args
        self.roles = roles
        self.tokenizer: Any = tokenizer
        self.modules = nn.ModuleDict()

    @classmethod
    def may_have_trained(cls, config: Any) -> bool:
        """Whether a model with the head of `auto_model` can be its own; other objectives may have the same head."""
        return True

    @classmethod
    def columns_of(cls, args: ObjectiveArgs) -> Columns:
        """What it reads of each document, with such arguments."""
        return cls.columns

    @classmethod
    def special_tokens_of(cls, args: ObjectiveArgs) -> Sequence[str]:
        """What its tokenizer has to have besides, with such arguments."""
        return cls.special_tokens

    @property
    def config_changes(self) -> Mapping[str, Any]:
        """Fields of the model's configuration that it sets, such as the labels; asked for after `study` or `recall`."""
        return {}

    @property
    def head(self) -> Head:
        """Which model it trains."""
        return Head(self.auto_model, self.looks_back_only, self.forward_options, self.config_changes, self.auto_models)

    def study(self, train: TokenStore, dev: TokenStore) -> None:  # noqa: B027 - few objectives have something to learn
        """Learn what has to be known of the training text beforehand, such as the set of labels.

        Raises:
            UserError: the objective cannot do with such texts.
        """

    def check(self, store: TokenStore, document: int) -> None:  # noqa: B027 - likewise
        """Look at a document with fields, by its number, before anything is computed of its text.

        Raises:
            UserError: it cannot be learned from. Its file and line are told by who calls.
        """

    @property
    def has_check(self) -> bool:
        """Whether `check` has something to look for."""
        return type(self).check is not Objective.check

    def recall(self, config: Any) -> None:  # noqa: B027 - likewise
        """Learn the same from the configuration of a model that was trained, where there is no training text."""

    def rows(self, store: TokenStore, max_length: int) -> RowSource | None:
        """Rows of its own making, such as windows over a long text; None: packed, or a document a row."""
        return None

    def build_modules(self, model: PreTrainedModel) -> Mapping[str, nn.Module]:
        """Networks of its own, drawn or loaded anew. Those with weights that learn are saved; a teacher is not.

        Asked for twice: to plan the run with a model without memory (device `meta`), then with that which trains.
        """
        return {}

    def weight(self, sample: Sample) -> float:
        """Share of a sample in the number that the step's loss is divided by: 1 a row, or its target tokens."""
        return 1

    @abstractmethod
    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Turn samples into tensors, in a loader process. What is drawn for a sample depends on its key alone."""

    @abstractmethod
    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sum of the losses of a batch: a scalar with a gradient."""

    def row_losses(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """The same by row, (B,) with a gradient: where it is there, each of several texts has its loss in the log."""
        raise NotImplementedError

    @property
    def has_row_losses(self) -> bool:
        """Whether `row_losses` is there, and no class below it changes `loss_sum` alone."""
        lowest = next(kind for kind in type(self).__mro__ if {"loss_sum", "row_losses"} & vars(kind).keys())
        return "row_losses" in vars(lowest)

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """What an evaluation gathers of a batch. The sum `weight` of its samples is added by who calls."""
        return Evaluated({"loss": float(self.loss_sum(model, batch))})

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Turn what a whole evaluation gathered into the reported numbers.

        Args:
            evaluated: of all batches of all processes.
            tokens_per_byte: of the whole text.
        """
        return {"loss": evaluated.sums["loss"] / (evaluated.sums["weight"] or 1)}

    @property
    def signatures(self) -> Mapping[str, str]:
        """How metrics were computed that others compute in several ways, in the words of their library, by metric."""
        return {}

    def outputs(self, evaluated: Evaluated) -> Sequence[Mapping[str, Any]]:
        """What the model wrote, a line of JSON each: eval.py writes them beside the numbers."""
        return ()

    def further_evaluations(
        self, store: TokenStore, max_length: int, options: Mapping[str, Any]
    ) -> Sequence[FurtherEvaluation]:
        """What `measures` name, where `options` ask for it."""
        return ()

    def describe(self) -> dict[str, Any]:
        """What a run's folder keeps of it, for those who read it without the objective's code."""
        loading = {"auto_model": self.auto_model, **({"auto_models": self.auto_models} if self.auto_models else {})}
        return {"best": self.best, "card": {**self.card, **loading}}

    @property
    def best(self) -> BestMetric:
        """The metric of an evaluation in training that says which checkpoint is the best."""
        return BestMetric(f"dev/{self.best_by}", highest=self.best_is_highest)
