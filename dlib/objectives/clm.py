"""Causal language modeling: predict each token of a row from those before it.

Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", equation 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dlib.data.samples import Sample
from dlib.data.token_store import TokenStore
from dlib.objectives.objective import Batch, Evaluated, FurtherEvaluation
from dlib.objectives.sliding_window import SlidingWindows
from dlib.objectives.token_prediction import TokenPrediction


class CausalLanguageModeling(TokenPrediction):
    """Predict the next token. A row's first token is never a target: nothing stands before it."""

    open_ended = True
    auto_model = "AutoModelForCausalLM"
    looks_back_only = True
    measures = ("stride", "harness")
    answerer = "dlib.generation.continuing:TextContinuer"
    forward_options: ClassVar[Mapping[str, Any]] = {"use_cache": False}
    card: ClassVar[Mapping[str, str]] = {"kind": "causal language model", "pipeline_tag": "text-generation"}

    def count_targets(self, row: np.ndarray) -> int:
        """All tokens but the first."""
        return len(row) - 1

    def weight(self, sample: Sample) -> float:
        """Its target tokens: no document is predicted from the one before it."""
        return self.count_targets(sample.ids) - len(() if sample.document_starts is None else sample.document_starts)

    def prepare(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The row as it is; position t predicts token t + 1, if that is of its document. Nothing is drawn."""
        row = sample.ids
        places = np.arange(len(row) - 1)
        if sample.document_starts is not None:
            places = np.delete(places, sample.document_starts - 1)
        return row, places, row[places + 1]

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Also, where rows are documents (`--line_by_line`), which of them are whole: `is_whole` (B,), truth values."""
        batch = super().collate(samples)
        if any(sample.is_whole for sample in samples):
            batch["is_whole"] = torch.tensor([sample.is_whole for sample in samples])
        return batch

    def sums(self, losses: Tensor, predicted: Tensor, batch: Batch) -> dict[str, float]:
        """Also the number of whole documents, and of those in which every token was predicted."""
        sums = super().sums(losses, predicted, batch)
        if "is_whole" in batch:
            rows = batch["target_positions"] // batch["input_ids"].shape[1]  # (K,)
            is_right = batch["is_whole"].clone()
            is_right[rows[predicted != batch["targets"]]] = False
            sums |= {"sequences": float(batch["is_whole"].sum()), "right_sequences": float(is_right.sum())}
        return sums

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Also `sequence_accuracy`, the share of whole documents in which every token was predicted."""
        metrics = super().metrics(evaluated, tokens_per_byte)
        if sequences := evaluated.sums.get("sequences"):
            metrics["sequence_accuracy"] = evaluated.sums["right_sequences"] / sequences
        return metrics

    def further_evaluations(
        self, store: TokenStore, max_length: int, options: Mapping[str, Any]
    ) -> Sequence[FurtherEvaluation]:
        """Perplexity of whole documents, read through a window that moves by `stride`."""
        if options["stride"] is None:
            return ()
        windows = SlidingWindows(store, max_length, options["stride"], self.roles.lead_id)
        objective = SlidingWindowPrediction(self.args, self.roles)
        return [FurtherEvaluation("stride_", ("loss", "perplexity", "bits_per_byte"), windows, objective)]


class SlidingWindowPrediction(CausalLanguageModeling):
    """Predict, in each window, the tokens that are new in it."""

    def weight(self, sample: Sample) -> int:
        """These tokens."""
        return len(sample.ids) - int(sample.fields["first_target"])

    def prepare(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The window as it is, and its tokens that no window before it scored."""
        row, first = sample.ids, sample.fields["first_target"]
        return row, np.arange(first - 1, len(row) - 1), row[first:]
