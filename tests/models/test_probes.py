"""Models that keep what they saw, or draw by the clock: mended where they can be, refused where not."""

import copy

import pytest
import torch
from torch import Tensor
from transformers import BigBirdConfig, BigBirdForMaskedLM, PreTrainedModel, ReformerConfig, ReformerForMaskedLM

from dlib.models.probes import keep_attention_type, refuse_hidden_state
from dlib.process.errors import UserError
from tests.toys import BERT_SIZES, CAUSAL_CONFIGS, MASKED_CONFIGS, build_toy, remove_dropout

pytestmark = pytest.mark.oldest

SHORT, LONG = 16, 64
"""Tokens of rows for which the toy of BigBird takes full and sparse attention."""


def big_bird() -> BigBirdForMaskedLM:
    torch.manual_seed(1)
    sizes = {**BERT_SIZES, "max_position_embeddings": 128}
    return BigBirdForMaskedLM(BigBirdConfig(**sizes, block_size=4, num_random_blocks=1)).train()


def logits(model: PreTrainedModel, length: int) -> Tensor:
    torch.manual_seed(3)
    return model(input_ids=torch.arange(length)[None]).logits


def test_attention_type_depends_on_the_batch_and_not_on_those_before() -> None:
    fresh, used = big_bird(), big_bird()
    assert not torch.equal(logits(fresh, LONG), [logits(used, n) for n in (SHORT, LONG)][-1])  # as transformers has it
    fresh, used = big_bird(), big_bird()
    keep_attention_type(fresh)
    keep_attention_type(used)
    seen = [logits(used, length) for length in (SHORT, LONG, SHORT, LONG)]
    for length, found in zip((SHORT, LONG), seen[2:], strict=True):
        anew = copy.deepcopy(big_bird())
        keep_attention_type(anew)
        assert torch.equal(logits(anew, length), found)


def test_attention_type_is_that_of_the_batch_when_activations_are_computed_again() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = big_bird()
        remove_dropout(model.config)
        keep_attention_type(model)
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        logits(model, SHORT).sum().backward()
        gradients.append(model.get_parameter("bert.encoder.layer.0.attention.self.query.weight").grad)
    before, again = gradients
    assert before is not None
    assert again is not None
    assert torch.equal(before, again)


def test_model_that_remembers_is_refused() -> None:
    model = big_bird()
    with pytest.raises(UserError, match=r"^bird: BigBirdForMaskedLM gives other numbers .*; choose another model$"):
        refuse_hidden_state(model, 64, "bird", {})
    keep_attention_type(model)
    refuse_hidden_state(model, 64, "bird", {})


@pytest.mark.parametrize("axial", [True, False])
def test_model_that_draws_by_the_clock_is_refused(axial: bool) -> None:
    config = ReformerConfig(
        vocab_size=64,
        hidden_size=16,
        num_attention_heads=2,
        attention_head_size=8,
        feed_forward_size=24,
        attn_layers=["local", "lsh"],
        local_attn_chunk_length=8,
        lsh_attn_chunk_length=8,
        num_buckets=2,
        max_position_embeddings=32,
        axial_pos_embds=axial,
        axial_pos_shape=(4, 8),
        axial_pos_embds_dim=(8, 8),
        is_decoder=False,
    )
    with pytest.raises(UserError, match=r"^toy: ReformerForMaskedLM gives other numbers"):
        refuse_hidden_state(ReformerForMaskedLM(config), 32, "toy", {})


@pytest.mark.parametrize("name", [*MASKED_CONFIGS, *CAUSAL_CONFIGS])
def test_usual_models_are_taken_and_left_as_they_were(name: str) -> None:
    model = build_toy(name, dropout=True)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    refuse_hidden_state(model, 24, name, {})
    assert all(map(torch.equal, before.values(), model.state_dict().values()))
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
