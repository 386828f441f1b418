"""Networks: loaded or drawn anew, fitted to the tokenizer, and refused in one line where they cannot work."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    DebertaConfig,
    DistilBertConfig,
    GPT2Config,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForCausalLM,
    T5Config,
)

from dlib.args import DataArgs, ExperimentArgs, ModelArgs, ObjectiveArgs, RunArgs
from dlib.data.packing import PADDING_MULTIPLE
from dlib.data.samples import Sample
from dlib.models import limits
from dlib.models.fitting import freeze
from dlib.models.head import Head
from dlib.models.limits import (
    check_positions,
    count_parameters,
    max_positions,
    refuse_broken_weights,
    refuse_too_large,
)
from dlib.models.loading import build_meta_model, build_model, load_model_config
from dlib.models.overrides import parse_override
from dlib.models.probes import refuse_looking_ahead
from dlib.objectives import build_objective
from dlib.process.errors import UserError
from dlib.process.versions import ATTENTION, MODEL_TYPES, has, refuse_attention_on
from tests.toys import BERT_SIZES, CAUSAL_CONFIGS, MASKED_CONFIGS, VOCAB_SIZE, build_toy, toy_roles, toy_row
from tests.toys import train_wordpiece as train_larger_tokenizer

pytestmark = pytest.mark.oldest

MASKED_LM = "AutoModelForMaskedLM"
NO_CACHE = {"use_cache": False}
CAUSAL_HEAD = Head("AutoModelForCausalLM", looks_back_only=True, forward_options=NO_CACHE)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """160 tokens: more than the toys' 64."""
    return train_larger_tokenizer()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved toy whose vocabulary is larger than any tokenizer's here."""
    config = RobertaConfig(**{**BERT_SIZES, "vocab_size": 200})
    torch.manual_seed(7)
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def arguments(*, seed: int = 1, max_length: int = 16, **model: object) -> ExperimentArgs:
    return ExperimentArgs(
        run=RunArgs(seed=seed),
        data=DataArgs(max_length=max_length),
        model=ModelArgs(**model),  # type: ignore[arg-type]
    )


def build(folder: Path, tokenizer: PreTrainedTokenizerFast, **options: object) -> PreTrainedModel:
    precision = str(options.pop("precision", "32-true"))
    return build_model(arguments(**options), str(folder), tokenizer, Head(MASKED_LM), precision)  # type: ignore[arg-type]


def plan(
    folder: Path, tokenizer: PreTrainedTokenizerFast, auto_model: str = MASKED_LM, **options: object
) -> PreTrainedModel:
    return build_meta_model(arguments(**options), str(folder), tokenizer, Head(auto_model))  # type: ignore[arg-type]


def words_of(model: PreTrainedModel) -> torch.Tensor:
    return cast(torch.nn.Embedding, model.get_input_embeddings()).weight


def equal(first: PreTrainedModel, second: PreTrainedModel) -> bool:
    return all(a.equal(b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_saved_weights_are_loaded(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build(folder, tokenizer)
    assert equal(model, AutoModelForMaskedLM.from_pretrained(folder))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    double = build(folder, tokenizer, precision="64-true")
    assert {parameter.dtype for parameter in double.parameters()} == {torch.float64}


def test_weights_from_scratch_are_a_function_of_the_seed(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    first = build(folder, tokenizer, from_scratch=True)
    torch.rand(5)
    assert equal(first, build(folder, tokenizer, from_scratch=True))
    assert not equal(first, build(folder, tokenizer, from_scratch=True, seed=2))
    assert first.config.vocab_size == len(tokenizer)
    assert first.config.pad_token_id == tokenizer.pad_token_id


def test_embeddings_are_enlarged_for_a_larger_tokenizer_and_never_cut(
    tmp_path: Path, folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    small = AutoModelForMaskedLM.from_config(RobertaConfig(**BERT_SIZES))
    small.save_pretrained(tmp_path / "small")
    model, again = (build(tmp_path / "small", tokenizer) for _ in range(2))
    assert equal(model, again)
    embeddings = words_of(model)
    assert len(embeddings) == model.get_output_embeddings().weight.shape[0] == model.config.vocab_size == len(tokenizer)
    assert embeddings[:VOCAB_SIZE].equal(words_of(small))
    assert count_parameters(plan(tmp_path / "small", tokenizer)) == count_parameters(model)
    assert len(words_of(build(folder, tokenizer))) == 200


@pytest.mark.parametrize("from_scratch", [False, True])
def test_plan_counts_what_the_model_has_without_drawing_it(
    folder: Path, tokenizer: PreTrainedTokenizerFast, from_scratch: bool
) -> None:
    options: dict[str, Any] = {"from_scratch": from_scratch, "freeze": "embeddings"}
    planned = plan(folder, tokenizer, **options)
    assert {parameter.device.type for parameter in planned.parameters()} == {"meta"}
    total, learning = count_parameters(planned)
    assert (total, learning) == count_parameters(build(folder, tokenizer, **options))
    assert learning < total


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("hidden_size=32", "hidden_size", 32),
        ("layer_norm_eps=1e-5", "layer_norm_eps", 1e-5),
        ("hidden_dropout_prob=0.25", "hidden_dropout_prob", 0.25),
        ("tie_word_embeddings=false", "tie_word_embeddings", False),
        ("hidden_act=relu", "hidden_act", "relu"),
    ],
)
def test_overrides_have_the_type_they_look_like(override: str, name: str, value: object) -> None:
    found = parse_override(override, RobertaConfig())
    assert found == (name, value)
    assert type(found[1]) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hidden_sise=32", "RobertaConfig has no field hidden_sise: did you mean hidden_size?"),
        ("qqqqqq=1", "RobertaConfig has no field qqqqqq$"),
        ("hidden_size", "write field=value"),
        ("hidden_act=[", "is not YAML"),
        ("hidden_size=wide", "--model_overrides hidden_size=wide: hidden_size must be a whole number"),
        ("hidden_size=15", "^--model_overrides hidden_size=15: .*/model cannot be built so: The hidden size"),
        ("num_hidden_layers=two", "num_hidden_layers=two: num_hidden_layers must be a whole number"),
        ("num_hidden_layers=2.5", "num_hidden_layers must be a whole number"),
        ("num_hidden_layers=0", "--model_overrides num_hidden_layers=0: num_hidden_layers must be at least 1"),
        ("num_hidden_layers=-1", "num_hidden_layers must be at least 1"),
        ("type_vocab_size=0", "type_vocab_size must be at least 1"),
        ("hidden_act=geluu", "--model_overrides hidden_act=geluu: .* no activation function geluu: did you mean gelu?"),
    ],
)
def test_wrong_override_is_one_line(
    folder: Path, tokenizer: PreTrainedTokenizerFast, override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        plan(folder, tokenizer, from_scratch=True, model_overrides=[override])


def test_common_names_override_a_configuration_with_its_own_names(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    GPT2Config(n_embd=16, n_layer=1, n_head=2).save_pretrained(tmp_path)
    args = ModelArgs(from_scratch=True, model_overrides=["hidden_size=32", "n_layer=3"])
    config = load_model_config(args, str(tmp_path), tokenizer)
    assert (config.n_embd, config.n_layer) == (32, 3)


def test_a_count_may_be_below_one_where_the_model_has_it_so() -> None:
    assert parse_override("type_vocab_size=0", DebertaConfig()) == ("type_vocab_size", 0)
    with pytest.raises(UserError, match="n_layer must be at least 1"):
        parse_override("n_layer=0", GPT2Config())
    with pytest.raises(UserError, match="num_hidden_layers must be at least 1"):
        parse_override("num_hidden_layers=0", GPT2Config())


@pytest.mark.parametrize(
    ("model_type", "fields", "override", "auto_model"),
    [
        ("llama", {"hidden_size": 16, "num_attention_heads": 2}, "hidden_size=32", "AutoModelForCausalLM"),
        pytest.param(
            *("modernbert", {"hidden_size": 16, "num_attention_heads": 2}, "num_hidden_layers=5", MASKED_LM),
            marks=pytest.mark.skipif(not has(MODEL_TYPES["modernbert"]), reason="transformers has no ModernBERT"),
        ),
    ],
    ids=["head_dim", "layer_types"],
)
def test_what_follows_from_an_overridden_field_follows(
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    model_type: str,
    fields: dict[str, int],
    override: str,
    auto_model: str,
) -> None:
    text = {"model_type": model_type, "num_hidden_layers": 2, "intermediate_size": 24, **fields}
    (tmp_path / "config.json").write_text(json.dumps(text))
    model = plan(tmp_path, tokenizer, auto_model, from_scratch=True, model_overrides=[override])
    changed = model.config
    assert getattr(changed, "head_dim", 16) == 16
    assert len(getattr(changed, "layer_types", None) or range(changed.num_hidden_layers)) == changed.num_hidden_layers


def test_positions_that_padded_rows_can_use() -> None:
    assert max_positions(build_toy("roberta")) == 32, "RoBERTa counts from the padding id + 1"
    assert max_positions(build_toy("bert")) == 34
    assert max_positions(build_toy("gpt2")) == 32
    assert max_positions(build_toy("llama")) == 34
    check_positions(build_toy("roberta"), 32, "toy")
    few: Any = build_toy("bert")
    few.bert.embeddings.position_embeddings = torch.nn.Embedding(PADDING_MULTIPLE - 1, 16)
    with pytest.raises(UserError, match=r"^toy has 7 positions, and rows are padded to 8; choose another model$"):
        check_positions(few, 4, "toy")
    with pytest.raises(UserError, match="--max_length 33: toy has 32 positions; use --max_length 32 or less"):
        check_positions(build_toy("roberta"), 33, "toy")
    with pytest.raises(UserError, match="--max_length 33: toy has 34 positions; use --max_length 32 or less"):
        check_positions(build_toy("bert"), 33, "toy")


def test_position_limit_of_a_real_roberta(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    sizes: dict[str, Any] = {**BERT_SIZES, "max_position_embeddings": 514}
    AutoModelForMaskedLM.from_config(RobertaConfig(**sizes)).save_pretrained(tmp_path)
    plan(tmp_path, tokenizer, max_length=512)
    with pytest.raises(UserError, match=r"--max_length 513: .* use --max_length 512 or less"):
        plan(tmp_path, tokenizer, max_length=513)


@pytest.mark.parametrize("name", ["roberta", "bert", "gpt2", "distilbert", "electra"])
def test_rows_of_the_largest_length_that_is_taken_do_run_padded(name: str) -> None:
    model = build_toy(name)
    limit = max_positions(model)
    assert limit is not None
    longest = limit // 8 * 8
    check_positions(model, longest, name)
    objective = build_objective(ObjectiveArgs(objective="clm" if name == "gpt2" else "mlm"), toy_roles())
    batch = objective.collate([Sample((toy_row(longest),), key=(1, 0, 0)), Sample((toy_row(3),), key=(1, 0, 1))])
    assert objective.loss_sum(model, batch).isfinite()


@pytest.mark.parametrize(
    ("config", "auto_model", "message"),
    [
        (
            GPT2Config,
            MASKED_LM,
            "GPT2 has no head of the kind AutoModelForMaskedLM; choose another --model or another --objective$",
        ),
        (DistilBertConfig, "AutoModelForCausalLM", "DistilBert has no head of the kind AutoModelForCausalLM; choose"),
        (T5Config, "AutoModelForCausalLM", "T5 has no head of the kind AutoModelForCausalLM; choose"),
    ],
)
def test_model_of_another_objective_is_told(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, config: type[PretrainedConfig], auto_model: str, message: str
) -> None:
    config().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=message):
        plan(tmp_path, tokenizer, auto_model, from_scratch=True)


def test_folder_without_weights(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="--model"):
        build(folder, tokenizer)
    assert build(folder, tokenizer, from_scratch=True)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_damaged_folder_is_one_line(folder: Path, tokenizer: PreTrainedTokenizerFast, file: str) -> None:
    (folder / file).write_bytes((folder / file).read_bytes()[:100])
    with pytest.raises(UserError, match=r"--model .* cannot be loaded"):
        build(folder, tokenizer)


def test_attention_that_the_model_has_not_is_refused_before_anything_is_built(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=64).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="flex_attention"):
        plan(tmp_path, tokenizer, "AutoModelForCausalLM", from_scratch=True, attn_implementation="flex_attention")
    eager = plan(tmp_path, tokenizer, "AutoModelForCausalLM", from_scratch=True, attn_implementation="eager")
    assert eager.config._attn_implementation == "eager"


@pytest.mark.skipif(not has(ATTENTION["flex_attention"]), reason="these versions do not have it")
def test_attention_without_dropout_names_the_override(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    message = (
        "^--attn_implementation flex_attention has no dropout: add --model_overrides attention_probs_dropout_prob=0.0$"
    )
    with pytest.raises(UserError, match=message):
        plan(folder, tokenizer, attn_implementation="flex_attention")
    refuse_attention_on("cuda", "flex_attention")
    with pytest.raises(UserError, match="flex_attention computes no gradients on a CPU"):
        refuse_attention_on("cpu", "flex_attention")


def test_kernel_whose_package_is_missing_is_named_and_not_the_model(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(UserError, match=r"^--attn_implementation"):
        plan(folder, tokenizer, attn_implementation="flash_attention_2")


def test_model_larger_than_the_memory_is_refused_before_it_is_built(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    refuse_too_large(10**6, "small")
    with pytest.raises(UserError, match=r"^huge: its 10,000,000,000,000 weights need 40,000 GB, and this machine has "):
        refuse_too_large(10**13, "huge")
    sizes = ["num_hidden_layers=1000000000", "hidden_size=64"]
    with pytest.raises(UserError, match=r"/model with 1,000,000,000 layers: its .* weights need .*; choose a"):
        plan(folder, tokenizer, from_scratch=True, model_overrides=sizes)


def test_many_layers_are_told_before_they_are_built(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MANY_LAYERS", 6)
    model = plan(folder, tokenizer, from_scratch=True, model_overrides=["num_hidden_layers=7"])
    weights = count_parameters(model)[0]
    assert f"Building a model of 7 layers and {weights:,} weights" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    model = build_toy("roberta")
    refuse_broken_weights(model, "toy")
    with torch.no_grad():
        model.get_parameter("lm_head.bias")[3] = value
    with pytest.raises(UserError, match=r"^toy: its weights lm_head\.bias are NaN or infinite"):
        refuse_broken_weights(model, "toy")


@pytest.mark.parametrize("depth", [700, 100_000])
def test_configuration_that_is_nested_deep_is_one_line(
    folder: Path, tokenizer: PreTrainedTokenizerFast, depth: int
) -> None:
    (folder / "config.json").write_text('{"model_type": "roberta", "x": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(UserError, match=r"^--model .* cannot be loaded: .*recursion"):
        plan(folder, tokenizer, from_scratch=True)


class Weightless(PreTrainedModel):
    """Nothing that could learn."""

    config_class = RobertaConfig


def test_model_without_weights_is_refused_whatever_is_frozen() -> None:
    with pytest.raises(UserError, match=r"^--model: Weightless has no weight that could learn; choose another$"):
        freeze(Weightless(RobertaConfig(**BERT_SIZES)), "none")


@pytest.mark.parametrize("name", [*MASKED_CONFIGS, *CAUSAL_CONFIGS])
def test_freezing(name: str) -> None:
    model = build_toy(name)
    every = {name for name, _ in model.named_parameters()}

    def learning(what: str) -> set[str]:
        freeze(model, what)
        return {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    words = next(n for n, p in model.named_parameters() if p is model.get_input_embeddings().weight)
    assert learning("none") == every
    assert words not in learning("embeddings")
    assert learning("embeddings") | learning("all_but_embeddings") == every
    assert not learning("embeddings") & learning("all_but_embeddings")
    assert not any("layer" in n or ".h." in n for n in learning("all_but_embeddings") if "norm" not in n.lower())
    trunk = {f"{model.base_model_prefix}.{n}" for n, _ in model.base_model.named_parameters()}
    if every - trunk:
        assert learning("all_but_head") == every - trunk
    else:
        with pytest.raises(UserError, match=r"--freeze all_but_head leaves .* no weight to learn"):
            freeze(model, "all_but_head")


def test_gradient_checkpointing_gives_equal_gradients(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    objective = build_objective(ObjectiveArgs(), toy_roles())
    batch = objective.collate([Sample((toy_row(12),), key=(1, 0, 0)), Sample((toy_row(7),), key=(1, 0, 1))])
    gradients = []
    for checkpointing in (False, True):
        options = {"gradient_checkpointing": checkpointing, "precision": "64-true"}
        model = build(folder, tokenizer, **options).train()
        assert model.is_gradient_checkpointing == checkpointing
        torch.manual_seed(1)
        objective.loss_sum(model, batch).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a compiler")
def test_compiled_trunk_gives_the_same_loss(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    objective = build_objective(ObjectiveArgs(), toy_roles())
    batch = objective.collate([Sample((toy_row(12),), key=(1, 0, 0)), Sample((toy_row(7),), key=(1, 0, 1))])
    with torch.no_grad():
        plain, compiled = (objective.loss_sum(build(folder, tokenizer, compile=c).eval(), batch) for c in (False, True))
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-5)


def test_a_model_of_both_directions_reads_from_left_to_right_for_clm(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build_model(arguments(from_scratch=True), str(folder), tokenizer, CAUSAL_HEAD, "32-true")
    assert model.config.is_decoder
    refuse_looking_ahead(model, "roberta", NO_CACHE)


@pytest.mark.parametrize("name", sorted(CAUSAL_CONFIGS))
def test_causal_models_do_not_look_ahead(name: str) -> None:
    refuse_looking_ahead(build_toy(name), name, NO_CACHE)


def test_a_causal_model_is_tried_out_without_the_cache_as_it_is_trained(
    folder: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, told = RobertaForCausalLM.forward, []

    def record(self: RobertaForCausalLM, *args: Any, **options: Any) -> Any:
        told.append(options["use_cache"])  # of which models with linear attention have another kind
        return forward(self, *args, **options)

    monkeypatch.setattr(RobertaForCausalLM, "forward", record)
    build_model(arguments(from_scratch=True), str(folder), tokenizer, CAUSAL_HEAD, "32-true")
    assert len(told) > 2
    assert not any(told)


def test_weights_that_are_no_numbers_are_not_taken_for_looking_ahead() -> None:
    model = build_toy("llama")
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    refuse_looking_ahead(model, "toy", NO_CACHE)


def test_a_model_that_sees_what_it_is_to_predict_is_refused() -> None:
    model = AutoModelForCausalLM.from_config(RobertaConfig(**BERT_SIZES, is_decoder=False))
    with pytest.raises(UserError, match=r"^roberta sees the tokens that it is to predict"):
        refuse_looking_ahead(model, "roberta", NO_CACHE)


def test_ids_with_gaps_have_their_rows(folder: Path) -> None:
    tokenizer = train_larger_tokenizer()
    tokenizer.backend_tokenizer.add_tokens(["gap"])
    model = build(folder, tokenizer, from_scratch=True)
    assert words_of(model).shape[0] == max(tokenizer.get_vocab().values()) + 1


def test_the_tokenizer_learns_where_the_models_positions_end(folder: Path) -> None:
    tokenizer = train_larger_tokenizer()
    model = build(folder, tokenizer, from_scratch=True)
    assert tokenizer.model_max_length == max_positions(model)


def test_a_head_changes_the_configuration_before_the_model_is_built(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    names = {0: "no", 1: "yes", 2: "perhaps"}
    head = Head("AutoModelForSequenceClassification", config_changes={"num_labels": 3, "id2label": names})
    model = build_model(arguments(), str(folder), tokenizer, head, "32-true")
    assert model.config.id2label == names
    assert build_meta_model(arguments(), str(folder), tokenizer, head).num_labels == 3


def test_a_head_that_goes_on_with_other_labels_says_which(
    folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def build_with(source: Path, *names: str) -> str:
        changes = {"num_labels": len(names), "id2label": dict(enumerate(names))}
        head = Head("AutoModelForSequenceClassification", config_changes=changes)
        build_model(arguments(), str(source), tokenizer, head, "32-true").save_pretrained(tmp_path / "model")
        return capsys.readouterr().err

    assert "has learned other labels" not in build_with(folder, "good", "bad", "mixed")
    assert "has learned other labels" not in build_with(tmp_path / "model", "good", "bad", "mixed")
    told = build_with(tmp_path / "model", "bad", "good", "mixed")
    assert 'model has learned other labels: its head goes on with "good" as "bad", "bad" as "good"\n' in told


def test_a_head_of_other_labels_is_drawn_anew_and_a_trunk_of_another_size_is_refused(
    folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = [Head("AutoModelForSequenceClassification", config_changes={"num_labels": count}) for count in (3, 2)]
    before: Any = build_model(arguments(), str(folder), tokenizer, heads[0], "32-true")
    before.save_pretrained(tmp_path / "three")
    capsys.readouterr()
    after: Any = build_model(arguments(), str(tmp_path / "three"), tokenizer, heads[1], "32-true")
    assert after.classifier.out_proj.weight.shape[0] == 2
    assert torch.equal(
        after.base_model.embeddings.word_embeddings.weight, before.base_model.embeddings.word_embeddings.weight
    )
    assert "three does not hold classifier.out_proj: new weights are drawn there" in capsys.readouterr().err
    with pytest.raises(UserError, match="its weights have other shapes than its configuration says: "):
        build_model(arguments(model_overrides=["hidden_size=8"]), str(folder), tokenizer, heads[0], "32-true")


@pytest.mark.parametrize("auto_model", ["AutoModel", "AutoModelForQuestionAnswering"])
def test_a_head_of_any_kind_is_tried_out(folder: Path, tokenizer: PreTrainedTokenizerFast, auto_model: str) -> None:
    assert build_model(arguments(), str(folder), tokenizer, Head(auto_model), "32-true")


def test_an_encoder_decoder_is_tried_out_with_both(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=200).save_pretrained(tmp_path)
    args = arguments(from_scratch=True)
    assert build_model(args, str(tmp_path), tokenizer, Head("AutoModelForSeq2SeqLM"), "32-true")
