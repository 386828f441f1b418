"""Documents of one row: none sees another, each says what it says alone, and a model that cannot is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from dlib.models.document_mask import keep_documents_apart, positions
from dlib.models.head import Head
from dlib.process.errors import UserError
from tests.toys import build_toy, remove_dropout

SHAPES = Path(__file__).parents[2] / "configs" / "models"
MASKED, CAUSAL = Head("AutoModelForMaskedLM"), Head("AutoModelForCausalLM", True, {"use_cache": False})
HEADS = {"gpt2": CAUSAL, "llama": CAUSAL, "roberta": MASKED, "modernbert": MASKED}
# Three documents, the middle one longer than ModernBERT's window on both sides of a token; and two and padding.
DOCUMENTS = torch.tensor([[0] * 30 + [1] * 140 + [2] * 30, [0] * 100 + [1] * 60 + [2] * 40])
IDS = torch.arange(400).view(2, 200) % 190 + 5


def build_shape(name: str, attention: str) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(SHAPES / f"{name}-tiny")
    remove_dropout(config)
    torch.manual_seed(1)
    auto_model = getattr(transformers, HEADS[name].auto_model)
    return auto_model.from_config(config, attn_implementation=attention).eval()


def say(model: PreTrainedModel, ids: torch.Tensor, head: Head, **further: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, **head.forward_options, **further).logits
    return logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", HEADS)
def test_a_document_says_what_it_says_alone_whatever_its_neighbours_are(name: str, attention: str) -> None:
    model, head = build_shape(name, attention), HEADS[name]
    keep_documents_apart(model, name, 200, head)
    row = say(model, IDS, head, documents=DOCUMENTS)
    for number in range(3):
        others = torch.where(DOCUMENTS.eq(number), IDS, IDS.flip(1))
        moved = say(model, others, head, documents=DOCUMENTS)
        for place in range(2):
            own = DOCUMENTS[place] == number
            assert torch.equal(moved[place, own], row[place, own]), "a neighbour was seen"
            alone = say(model, IDS[place, own][None], head)
            torch.testing.assert_close(row[place, own], alone[0], rtol=1e-4, atol=1e-5)


def test_a_row_without_documents_is_computed_as_ever() -> None:
    for name, head in HEADS.items():
        model, other = build_shape(name, "sdpa"), build_shape(name, "sdpa")
        keep_documents_apart(model, name, 200, head)
        assert torch.equal(say(model, IDS, head), say(other, IDS, head))


def test_a_try_leaves_the_model_and_the_generator_as_they_were() -> None:
    model = build_toy("roberta", dropout=True).train()
    state = torch.get_rng_state()
    keep_documents_apart(model, "roberta", 32, MASKED)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_that_takes_no_such_mask_is_refused() -> None:
    config = transformers.MambaConfig(vocab_size=64, hidden_size=16, state_size=4, num_hidden_layers=1)
    model = transformers.MambaForCausalLM(config)
    with pytest.raises(UserError, match=r"^--document_mask: MambaForCausalLM of mamba does not keep documents apart"):
        keep_documents_apart(model, "mamba", 32, CAUSAL)
    assert not model._forward_pre_hooks


def test_a_kernel_that_takes_no_mask_is_refused() -> None:
    model = build_toy("gpt2")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(UserError, match=r"^--document_mask is for .* sdpa and eager, .* not for flash_attention_2"):
        keep_documents_apart(model, "gpt2", 32, CAUSAL)


def test_positions_begin_anew_in_each_document() -> None:
    documents = torch.tensor([[0, 0, 1, 2, 2, 2], [0, 0, 0, 0, 1, 1]])
    assert positions(documents).tolist() == [[0, 1, 0, 0, 1, 2], [0, 1, 2, 3, 0, 1]]
