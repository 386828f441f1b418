"""Causal language modeling: predict each token of a row from those before it.

Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", equation 1.
"""

from typing import Any, ClassVar

import numpy as np

from dlib.objectives.token_prediction import SampleKey, TokenPrediction


class CausalLanguageModeling(TokenPrediction):
    """Predict the next token. A row's first token is never a target: nothing stands before it."""

    auto_model: ClassVar[str] = "AutoModelForCausalLM"
    looks_back_only: ClassVar[bool] = True
    close_truncated: ClassVar[bool] = False  # it would teach an end of text where there is none
    forward_options: ClassVar[dict[str, Any]] = {"use_cache": False}

    def count_targets(self, row: np.ndarray) -> int:
        """All tokens but the first."""
        return len(row) - 1

    def prepare_row(self, row: np.ndarray, key: SampleKey) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The row as it is; position t predicts token t + 1. Nothing is drawn, so the key is not used."""
        return row, np.arange(len(row) - 1), row[1:]
