"""Networks of one's own: one file and one line in `MODELS`; built, saved, loaded, counted and asked like any other."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dlib.args import DataArgs, ExperimentArgs, ModelArgs, ObjectiveArgs
from dlib.args.generation import GenerationArgs
from dlib.args.tables import MODELS
from dlib.callbacks.performance import training_flops
from dlib.data.samples import Sample
from dlib.generation.filling import FilledLine
from dlib.generation.predictor import Predictor
from dlib.models.head import Head
from dlib.models.hub import choose_hub_mode
from dlib.models.limits import count_parameters, max_positions
from dlib.models.loading import as_saved, build_meta_model, build_model
from dlib.models.names import find_model
from dlib.models.new_weights import parts_drawn_anew
from dlib.models.sources import find_source
from dlib.objectives import build_objective
from dlib.objectives.token_prediction import predict_targets
from dlib.process.errors import UserError
from tests.own_networks import NETWORKS, NORMALIZED, Convolution, Louder, Recurrent
from tests.toys import toy_roles, toy_row, train_wordpiece

pytestmark = pytest.mark.oldest

MASKED = Head("AutoModelForMaskedLM")
SMALL = {"own-louder": ["hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=24"]}
CAUSAL = Head("AutoModelForCausalLM", looks_back_only=True, forward_options={"use_cache": False})


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table as a user would have it."""
    for name, place in NETWORKS.items():
        monkeypatch.setitem(MODELS, name, place)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """160 tokens, a mask among them."""
    return train_wordpiece()


def arguments(*, max_length: int = 16, **model: Any) -> ExperimentArgs:
    return ExperimentArgs(data=DataArgs(max_length=max_length), model=ModelArgs(**{"from_scratch": True, **model}))


def arguments_of(name: str, **options: Any) -> ExperimentArgs:
    return arguments(model=name, **{"model_overrides": SMALL.get(name, []), **options})


def build(name: str, tokenizer: PreTrainedTokenizerFast, head: Head = MASKED, **options: Any) -> PreTrainedModel:
    return build_model(arguments_of(name, **options), name, tokenizer, head, "32-true")


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_it_comes_back_from_its_folder_as_it_was(name: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = build(name, tokenizer)
    save(model, tokenizer, tmp_path / "first")
    args = as_saved(arguments(model=name))
    again = build_model(args, str(tmp_path / "first"), tokenizer, MASKED, "32-true", is_checkpoint=True)
    assert type(again) is type(model)
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    ids = torch.arange(12)[None]
    assert torch.equal(model.eval()(input_ids=ids).logits, again.eval()(input_ids=ids).logits)
    save(again, tokenizer, tmp_path / "second")
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name
    planned = build_meta_model(arguments_of(name), name, tokenizer, MASKED)
    assert count_parameters(planned) == count_parameters(model)
    assert parts_drawn_anew(again, str(tmp_path / "first")) == []


def test_weights_are_a_function_of_the_seed_and_drawn_as_the_network_draws_them(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    first, again = (build("own-recurrent", tokenizer) for _ in range(2))
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    words: Any = first.get_input_embeddings()
    assert words.weight.std() > 0.9, "as torch draws embeddings; transformers draws them with 0.02"


def test_arguments_are_overridden_by_name_and_their_names_are_checked(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build("own-recurrent", tokenizer, model_overrides=["hidden_size=8", "tied=false"])
    network: Any = model.base_model
    assert (network.cells.hidden_size, network.head.weight is network.embedding.weight) == (8, False)
    assert network.head.out_features == len(tokenizer)
    average: Any = build("own-average", tokenizer, model_overrides=["depth=3"]).base_model
    assert (len(average.layers), average.pad_token_id) == (3, tokenizer.pad_token_id)
    with pytest.raises(UserError, match="has no field hiden_size: did you mean hidden_size"):
        build("own-recurrent", tokenizer, model_overrides=["hiden_size=8"])


def test_an_argument_that_is_set_to_what_transformers_says_of_such_a_word_comes_back(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "own-normalized", NORMALIZED["own-normalized"])
    changes = ["tie_word_embeddings=true", "max_length=20"]
    save(build("own-normalized", tokenizer, model_overrides=changes), tokenizer, tmp_path)
    args = as_saved(arguments(model="own-normalized"))
    again: Any = build_model(args, str(tmp_path), tokenizer, MASKED, "32-true", is_checkpoint=True)
    assert (again.config.tie_word_embeddings, again.config.max_length) == (True, 20)
    assert again.network.head.weight is again.network.embedding.weight


@pytest.mark.parametrize("name", NETWORKS)
def test_targets_are_predicted_as_the_plain_network_predicts_them(
    name: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build(name, tokenizer).eval()
    batch = build_objective(ObjectiveArgs(), toy_roles()).collate(
        [Sample((toy_row(12),), key=(1, 0, 0)), Sample((toy_row(7),), key=(1, 0, 1))]
    )
    plain = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    found = predict_targets(model, batch)
    torch.testing.assert_close(found, plain.flatten(0, 1)[batch["target_positions"]])


def test_a_layer_called_head_sees_the_target_positions_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    model: Any = build("own-recurrent", tokenizer)
    batch = build_objective(ObjectiveArgs(), toy_roles()).collate([Sample((toy_row(12),), key=(1, 0, 0))])
    seen = []
    model.network.head.register_forward_hook(lambda layer, args, output: seen.append(output.shape[:2]))
    predict_targets(model, batch)
    assert seen == [(1, len(batch["targets"]))]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_network_does_not_tell_is_left_out_of_what_is_measured(
    name: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build(name, tokenizer)
    per_token, per_target = training_flops(model, Fraction(16))
    assert per_token > 0
    assert per_target >= 0
    assert max_positions(model) == (511 if name == "own-louder" else None)


def test_freezing_knows_the_head(tokenizer: PreTrainedTokenizerFast) -> None:
    def learning(**options: Any) -> set[str]:
        model = build("own-recurrent", tokenizer, **options)
        return {name for name, weight in model.named_parameters() if weight.requires_grad}

    assert learning(freeze="all_but_head", model_overrides=["tied=false"]) == {
        "network.head.weight",
        "network.head.bias",
    }
    assert learning(freeze="all_but_embeddings") == {"network.embedding.weight"}


def test_a_tokenizer_with_more_tokens_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    save(build("own-recurrent", tokenizer), tokenizer, tmp_path)
    larger = train_wordpiece()
    larger.add_tokens(["further"])
    args = arguments(from_scratch=False, checkpoint=str(tmp_path))
    with pytest.raises(UserError, match="--tokenizer: it has 161 tokens, and OwnNetwork, made for 160, cannot"):
        build_model(args, str(tmp_path), larger, MASKED, "32-true")


@pytest.mark.parametrize("name", ["own-average", "own-convolution"])
def test_one_that_looks_back_is_trained_for_text_and_continues_it(
    name: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save(build(name, tokenizer, CAUSAL), tokenizer, tmp_path)
    lines = ["The quick brown", "A tokenizer that is trained"]
    args = GenerationArgs(max_new_tokens=5, accelerator="cpu", temperature=0)
    answers: list[Any] = Predictor(tmp_path, args).predict(lines)
    assert {answer.finish_reason for answer in answers} <= {"length", "stop"}
    assert answers == [answer for line in lines for answer in Predictor(tmp_path, args).predict([line])]


@pytest.mark.parametrize("name", NETWORKS)
def test_one_that_was_trained_on_masks_fills_them(
    name: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save(build(name, tokenizer), tokenizer, tmp_path)
    [answer] = Predictor(tmp_path, GenerationArgs(accelerator="cpu")).predict(["The [MASK] fox"])
    assert isinstance(answer, FilledLine)
    assert len(answer.masks[0]) == 5


def test_one_that_looks_ahead_is_refused_for_text(tokenizer: PreTrainedTokenizerFast) -> None:
    build("own-recurrent", tokenizer, CAUSAL)
    with pytest.raises(UserError, match="own-recurrent sees the tokens that it is to predict"):
        build("own-recurrent", tokenizer, CAUSAL, model_overrides=["both_ways=true"])


def test_its_name_stands_for_new_weights_alone_and_for_no_name_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--model own-average is a network of one's own.*; add --from_scratch"):
        find_source(arguments(model="own-average", from_scratch=False))
    assert find_source(arguments(model="own-average")) == "own-average"
    with pytest.raises(UserError, match=r"the model own-average .* give a run of it"):
        find_model("own-average")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    choose_hub_mode(["own-average", None], offline=False)
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("tests.own_networks:Nothing", "has no Nothing"),
        ("tests.no_networks:Nothing", "cannot be imported"),
        ("tests.own_networks:NETWORKS", "is no class of torch.nn.Module"),
        ("tests.own_networks:Unspoken", "its argument depth has no value"),
        ("tests.own_networks:Strange", "the default of activation is no number"),
    ],
)
def test_a_wrong_line_in_the_table_is_told(
    place: str, told: str, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "own-wrong", place)
    with pytest.raises(UserError, match=told):
        build("own-wrong", tokenizer)


def test_what_a_plain_network_cannot_do_is_told_by_the_flag(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match=r"^--gradient_checkpointing: OwnNetwork cannot; leave it out$"):
        build("own-recurrent", tokenizer, gradient_checkpointing=True)
    with pytest.raises(UserError, match=r"^--attn_implementation: "):
        build("own-recurrent", tokenizer, attn_implementation="sdpa")


def test_an_error_in_its_code_keeps_its_traceback(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recurrent, "forward", lambda self, input_ids, attention_mask: input_ids @ input_ids)
    with pytest.raises(RuntimeError):
        build("own-recurrent", tokenizer)


def test_a_network_that_left_the_table_is_told(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(build("own-recurrent", tokenizer), tokenizer, tmp_path)
    monkeypatch.delitem(MODELS, "own-recurrent")
    with pytest.raises(UserError, match="'own-recurrent', which is not in MODELS"):
        build_model(as_saved(arguments()), str(tmp_path), tokenizer, MASKED, "32-true")


def test_classes_of_transformers_stay_theirs(tokenizer: PreTrainedTokenizerFast) -> None:
    assert type(build("own-louder", tokenizer)) is Louder
    config_class: Any = Louder.config_class
    assert config_class.model_type == "own-louder"
    assert Convolution.config_class.model_type in ("", "own-convolution")
    assert Louder.__base__.config_class.model_type == "roberta"  # type: ignore[union-attr]
