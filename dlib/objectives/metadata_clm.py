"""Causal language modeling with metadata: predict each token of a text, told what is known of it.

What is known (an address, a date, the names in the text) is written before the text and into it, as in CTRL (Keskar et
al. 2019), and is never predicted.
"""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args import ObjectiveArgs
from dlib.data.samples import Columns, Sample
from dlib.data.token_roles import TokenRoles
from dlib.data.token_store import TokenStore
from dlib.objectives.clm import CausalLanguageModeling
from dlib.objectives.metadata_rows import IS_TEXT, WRITTEN, MetadataRows, MetadataWriter
from dlib.objectives.objective import Batch, Evaluated
from dlib.process.errors import UserError

TEMPLATES = {"metadata_template": {"name", "value"}, "metadata_span_template": {"name", "value", "text"}}
"""What may stand in braces."""


class MetadataLanguageModeling(CausalLanguageModeling):
    """Predict the text's tokens. An evaluation has each row twice, with all metadata and without."""

    card: ClassVar[Mapping[str, str]] = {"kind": "causal language model", "pipeline_tag": "text-generation"}

    def __init__(
        self, args: ObjectiveArgs, roles: TokenRoles, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> None:
        """Check the templates.

        Raises:
            UserError: one of them cannot be filled in.
        """
        super().__init__(args, roles, tokenizer)
        for name in TEMPLATES:
            refuse_other_braces(name, getattr(self.args, name))

    @classmethod
    def columns_of(cls, args: ObjectiveArgs) -> Columns:
        """The text and the metadata, which a document may lack.

        Raises:
            UserError: no metadata is named.
        """
        settings: Any = args
        names = (*settings.metadata_fields, *settings.metadata_span_fields)
        if not names:
            raise UserError("--objective metadata_clm needs --metadata_fields or --metadata_span_fields; or use clm")
        return Columns(fields=names, optional=names, offsets=("text",) if settings.metadata_span_fields else ())

    @classmethod
    def special_tokens_of(cls, args: ObjectiveArgs) -> Sequence[str]:
        """Those of `--metadata_special_tokens`."""
        settings: Any = args
        return tuple(settings.metadata_special_tokens)

    @property
    def names(self) -> list[str]:
        """All metadata."""
        return [*self.args.metadata_fields, *self.args.metadata_span_fields]

    def study(self, train: TokenStore, dev: TokenStore) -> None:
        """Tell now of metadata that no document has."""
        for name in self.names:
            if all(train.field(name, document) is None for document in range(train.num_documents)):
                raise UserError(f"--metadata_fields: no document of the training text has the key {name}")

    def check(self, store: TokenStore, document: int) -> None:
        """Refuse spans that are none."""
        for name in self.args.metadata_span_fields:
            refuse_other_spans(store.field(name, document), f'key "{name}"')

    def rows(self, store: TokenStore, max_length: int) -> MetadataRows:
        """A row a piece of a document."""
        return MetadataRows(store, max_length, self.roles.lead_id, MetadataWriter(self.args, self.tokenize))

    def tokenize(self, text: str) -> list[int]:
        """The ids of some metadata."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def weight(self, sample: Sample) -> int:
        """The text's tokens."""
        return int(sample.fields[IS_TEXT][0].sum())

    def prepare(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The row as it is; what stands before a token of the text predicts it."""
        row, places = sample.ids, np.flatnonzero(sample.fields[IS_TEXT][0])
        return row, places - 1, row[places]

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """In an evaluation the rows without metadata follow those with it; `written` (K, F) bool: what targets have."""
        if len(samples[0].sequences) == 1:
            return super().collate(samples)
        halves = [[half_of(sample, place) for sample in samples] for place in range(2)]
        written = [[name in sample.fields[WRITTEN] for name in self.names] for sample in samples]
        counts = torch.tensor([self.weight(sample) for sample in samples])
        return {
            **super().collate([*halves[0], *halves[1]]),
            "written": torch.tensor(written).repeat_interleave(counts, dim=0),
        }

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The sums of the loss with metadata, of that without, and of documents that have a field."""
        losses, predicted = self.predictions(model, batch)
        count = len(losses) // 2
        sums = self.sums(losses[:count], predicted[:count], {**batch, "targets": batch["targets"][:count]})
        wide = losses.cpu().double()
        sums["loss without metadata"] = float(wide[count:].sum())
        for name, has in zip(self.names, batch["written"].cpu().unbind(1), strict=True):
            sums |= {f"loss with {name}": float(wide[:count][has].sum()), f"targets with {name}": float(has.sum())}
        return Evaluated(sums)

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """What clm has, with all metadata; the loss of the same tokens without; that of documents that have a field."""
        sums, metrics = evaluated.sums, super().metrics(evaluated, tokens_per_byte)
        metrics["loss_without_metadata"] = sums["loss without metadata"] / max(sums["targets"], 1.0)
        there = [name for name in self.names if sums[f"targets with {name}"]]
        return metrics | {
            f"loss_with_{name}": sums[f"loss with {name}"] / sums[f"targets with {name}"] for name in there
        }


def half_of(sample: Sample, place: int) -> Sample:
    """One of the two rows of an evaluated sample."""
    return Sample((sample.sequences[place],), {IS_TEXT: sample.fields[IS_TEXT][place : place + 1]}, sample.number)


def refuse_other_braces(name: str, template: str) -> None:
    """Refuse a template that cannot be filled in; raises `UserError`."""
    advice = f"write {' and '.join(f'{{{word}}}' for word in sorted(TEMPLATES[name]))} in it, and no other braces"
    try:
        words = [word for _, word, form, _ in Formatter().parse(template) if word is not None]
    except ValueError as error:
        raise UserError(f"--{name} {template}: {error}; {advice}") from error
    is_around = "text" in TEMPLATES[name]
    if not {*words} <= TEMPLATES[name] or (words.count("text"), template.count("{text}")) != (is_around, is_around):
        raise UserError(f"--{name} {template}: {advice}")


def refuse_other_spans(value: Any, place: str) -> None:
    """Refuse what is no list of spans; raises `UserError`."""
    keys: dict[str, Any] = {"start": int, "end": int, "value": (str, int, float)}
    for span in [] if value is None else value if isinstance(value, list) else [value]:
        is_whole = isinstance(span, dict) and all(isinstance(span.get(key), kind) for key, kind in keys.items())
        if not is_whole or not 0 <= span["start"] < span["end"]:
            raise UserError(
                f'{place}: write a list of {{"start": 0, "end": 3, "value": "..."}}, in characters of the text'
            )
