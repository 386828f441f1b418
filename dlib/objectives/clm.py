"""Causal language modeling: predict each token of a row from those before it.

Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", equation 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from dlib.data.samples import Sample
from dlib.data.token_store import TokenStore
from dlib.objectives.objective import FurtherEvaluation
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

    def prepare(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The row as it is; position t predicts token t + 1. Nothing is drawn."""
        row = sample.ids
        return row, np.arange(len(row) - 1), row[1:]

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
