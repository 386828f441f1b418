"""The count of arithmetic, against a count by hand."""

from fractions import Fraction
from typing import cast

import pytest
from torch import nn

from dlib.callbacks.performance import training_flops
from tests.toys import CAUSAL_CONFIGS, MASKED_CONFIGS, VOCAB_SIZE, build_toy


def test_gpt2_by_hand() -> None:
    hidden, layers, tokens = 16, 2, 10
    block = 4 * hidden**2 + 8 * hidden**2
    per_token, per_target = training_flops(build_toy("gpt2"), Fraction(tokens))
    assert per_token == 6 * layers * block + 12 * layers * hidden * tokens
    assert per_target == 6 * VOCAB_SIZE * hidden


@pytest.mark.parametrize("name", [*MASKED_CONFIGS, *CAUSAL_CONFIGS])
def test_every_architecture_is_counted_and_positions_are_not_multiplied(name: str) -> None:
    model = build_toy(name)
    per_token, per_target = training_flops(model, Fraction(0))
    assert 0 < per_token < 6 * sum(parameter.numel() for parameter in model.parameters())
    assert per_target == 6 * cast(nn.Embedding, model.get_input_embeddings()).weight.numel()
