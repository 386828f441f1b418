"""The numbers of one checkpoint: those that training computes, by the same code, and those that take longer.

Text, rows, masks, kernels and sums are those of training, so that its numbers come out again bit by bit on the same
hardware with as many threads.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.data.checking import check_documents
from dlib.data.finding import Text
from dlib.data.joined_store import limited
from dlib.data.packing import Rows
from dlib.data.splitting import filter_of
from dlib.data.steps import EvaluationBatches
from dlib.data.text_data import cut_rows, tokenize
from dlib.data.token_roles import token_roles
from dlib.data.token_store import TokenStore
from dlib.measuring.processes import Processes, precision_plugin
from dlib.measuring.subjects import Evaluation, Subject
from dlib.models.fitting import own_memory
from dlib.models.limits import check_positions, refuse_broken_weights
from dlib.models.loading import as_saved, build_model, load_model_config
from dlib.models.sources import has_tokenizer
from dlib.models.tokenization import load_tokenizer
from dlib.objectives import build_objective, columns_read
from dlib.objectives.objective import Objective
from dlib.objectives.recognition import refuse_other_head
from dlib.process.errors import UserError
from dlib.training.checkpoints import add_modules
from dlib.training.devices import choose_precision
from dlib.training.evaluation import gather_all, max_tokens_of_batch

DEFAULT_BATCH_SIZE = 8


class CheckpointEvaluation:
    """A loaded checkpoint on its device, with its tokenizer and objective; of use in all processes at once.

    Attributes:
        model: in evaluation mode.
        tokenizer: its own.
        precision: Lightning's name of the arithmetic.
        outputs: what the model wrote, see `Objective.outputs`.
    """

    def __init__(self, subject: Subject, processes: Processes) -> None:
        """Load what `subject` names.

        Raises:
            UserError: it cannot be loaded, or does not fit its arguments.
        """
        args = subject.evaluation.args
        devices = processes.devices
        self.processes = processes
        self.args = args
        self.precision = choose_precision(args.hardware.precision, devices.accelerator, devices.indices)
        self.tokenizer = find_tokenizer(subject.model, trust_remote_code=args.model.trust_remote_code)
        self.objective = build_objective(args.objective, token_roles(self.tokenizer), self.tokenizer)
        self.outputs: list[Mapping[str, Any]] = []
        config = load_model_config(as_saved(args).model, subject.model, self.tokenizer, "the model")
        if subject.run is None:
            refuse_other_head(config, subject.name, args.objective.objective)
        self.objective.recall(config)
        self.plugin = precision_plugin(self.precision, devices.accelerator)
        processes.compute_as_in_training(exact=args.hardware.exact_reduce)
        self.model = self._load(subject)

    def _load(self, subject: Subject) -> PreTrainedModel:
        model = build_model(
            as_saved(self.args),
            subject.model,
            self.tokenizer,
            self.objective.head,
            self.precision,
            "the model",
            is_checkpoint=subject.run is not None,
            may_draw=False,
        )
        refuse_broken_weights(model, subject.name)
        check_positions(model, self.args.data.max_length, subject.name)
        add_modules(self.objective, model, self.args.run.seed, Path(subject.model))
        for network in (model, self.objective.modules):
            own_memory(network)
            self.plugin.convert_module(network)
            network.to(self.processes.device)  # type: ignore[arg-type]
        return model.to(self.processes.device).eval()  # type: ignore[arg-type]

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """The metrics on the text, by name.

        Raises:
            UserError: the text cannot be read.
        """
        assert evaluation.text is not None
        objective, args = self.objective, self.args
        rows, store = self.read(evaluation.text, evaluation.order.split)
        further_evaluations = objective.further_evaluations(store, args.data.max_length, vars(evaluation.order))
        metrics = self.evaluate(objective, rows, store)
        for further in further_evaluations:
            found = self.evaluate(further.objective, further.rows, store)
            metrics |= {f"{further.prefix}{name}": found[name] for name in further.names}
        return metrics

    def read(self, text: Text, split: str) -> tuple[Rows, TokenStore]:
        """The rows of a text up to its limits, cut as in training, and its tokens.

        Raises:
            UserError: the text cannot be read.
        """
        args, objective = self.args, self.objective
        columns = columns_read(args)
        kept = filter_of(args.data, split, columns)
        whole = tokenize(args.data, text.file, self.tokenizer, objective.roles, columns, kept)
        store = limited(whole, text.corpus)
        if objective.has_check:
            check_documents(store, text.file, args.data.document, objective.check)
        rows = objective.rows(store, args.data.max_length) or cut_rows(
            args.data, store, objective.roles, keep_tail=True, close_truncated=not objective.open_ended
        )
        return rows, store

    def describe_hardware(self) -> dict[str, Any]:
        """What it computes on: other hardware may change the last bits."""
        described = self.processes.devices.describe(self.args.hardware.distributed_strategy)
        return {**described, "threads": torch.get_num_threads(), "precision": self.precision}

    def evaluate(self, objective: Objective, rows: Rows, store: TokenStore) -> dict[str, float]:
        """The metrics of an objective on rows of a text."""
        batch = self.args.batch
        size = batch.eval_batch_size or batch.micro_batch_size or DEFAULT_BATCH_SIZE
        processes = self.processes
        place, max_tokens = (processes.rank, processes.devices.world_size), max_tokens_of_batch(self.args, size)
        batches = EvaluationBatches(rows, objective, size, *place, max_tokens=max_tokens)
        loader: DataLoader[Any] = DataLoader(batches, batch_size=None, pin_memory=processes.device.type == "cuda")
        with self.plugin.forward_context():
            evaluated = gather_all(self.model, objective, loader, batches.row_order)
        self.outputs += objective.outputs(evaluated)
        return objective.metrics(evaluated, store.num_tokens / store.num_bytes)


def find_tokenizer(model: str, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """The model's own tokenizer.

    Raises:
        UserError: it has none.
    """
    if Path(model).is_dir() and not has_tokenizer(Path(model)):
        raise UserError(f"{model} has no tokenizer.json or vocabulary: a text cannot be read with it")
    return load_tokenizer(model, "the model", trust_remote_code=trust_remote_code)
