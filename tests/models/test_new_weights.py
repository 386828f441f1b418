"""What a plan says of new weights, from the headers of files, is what loading says that it drew."""

from pathlib import Path

import pytest
import torch
import transformers
from transformers import RobertaConfig

from dlib.models.head import Head
from dlib.models.loading import load_weights
from dlib.models.new_weights import parts_drawn_anew
from tests.toys import BERT_SIZES, CAUSAL_CONFIGS, MASKED_CONFIGS, build_toy

pytestmark = pytest.mark.oldest

LABELS = "AutoModelForSequenceClassification"
MASKED, CAUSAL = "AutoModelForMaskedLM", "AutoModelForCausalLM"


def planned_and_drawn(folder: Path, auto_model: str, num_labels: int = 2) -> tuple[list[str], list[str]]:
    """The modules that a plan names, and those for which loading draws weights."""
    config = transformers.AutoConfig.from_pretrained(folder)
    config.num_labels = num_labels
    with torch.device("meta"):
        planned = parts_drawn_anew(getattr(transformers, auto_model).from_config(config), str(folder))
    _, new = load_weights(Head(auto_model), str(folder), config, trust_remote_code=False)
    return planned, sorted({name.rpartition(".")[0] for name in new})


@pytest.mark.parametrize("name", [*MASKED_CONFIGS, *CAUSAL_CONFIGS])
def test_a_plan_names_the_parts_that_loading_draws(name: str, tmp_path: Path) -> None:
    model, own = build_toy(name), MASKED if name in MASKED_CONFIGS else CAUSAL
    model.save_pretrained(tmp_path)
    labels = type(model.config) in transformers.AutoModelForSequenceClassification._model_mapping
    heads = [own, *([LABELS] if labels else [])]
    for auto_model in heads:
        planned, drawn = planned_and_drawn(tmp_path, auto_model)
        assert planned == drawn
        assert (planned == []) == (auto_model == own)


def test_a_head_of_another_number_of_labels_is_new_and_a_pickle_tells_nothing(tmp_path: Path) -> None:
    config = RobertaConfig(**BERT_SIZES, num_labels=3)  # type: ignore[call-arg]
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(tmp_path)
    assert planned_and_drawn(tmp_path, LABELS, 3) == ([], [])
    planned, drawn = planned_and_drawn(tmp_path, LABELS, 5)
    assert planned == drawn == ["classifier.out_proj"]
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert parts_drawn_anew(transformers.AutoModelForMaskedLM.from_config(config), str(tmp_path)) == []
