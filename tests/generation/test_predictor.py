"""Asking a model from Python: which way it is asked, and answers that depend on the line alone."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from dlib.args.generation import GenerationArgs
from dlib.generation.continuing import Continuation, TextContinuer
from dlib.generation.filling import FilledLine
from dlib.generation.predictor import Predictor
from dlib.models.names import find_model, find_path
from dlib.objectives.recognition import recognize, refuse_other_head
from dlib.process.errors import UserError
from dlib.runs.paths import CheckpointFolder
from tests import asking
from tests.asking import save_model, train_byte_level
from tests.launching import Place, train
from tests.toys import BERT_SIZES, SENTENCES, train_wordpiece

pytestmark = pytest.mark.oldest
roberta, llama = asking.roberta, asking.llama

LINES = [
    "The lazy dog",
    "",
    "A tokenizer",
    "words and more words and more",
    "漢字 🙂",
    "  ",
    "The quick brown fox jumps",
]
MASKED = ["The <mask> dog", "", "no mask", "[MASK] is", "the <mask> and the [MASK] mind", "  ", "Gr<mask>e 漢 <mask>"]


def continuations(model: Path, args: GenerationArgs, lines: list[str]) -> list[Continuation]:
    """The answers of a causal model."""
    answers = Predictor(model, replace(args, accelerator="cpu")).predict(lines)
    return [answer for answer in answers if isinstance(answer, Continuation)]


def fillings(model: Path, args: GenerationArgs, lines: list[str]) -> list[FilledLine]:
    """The answers of a masked model."""
    answers = Predictor(model, replace(args, accelerator="cpu")).predict(lines)
    return [answer for answer in answers if isinstance(answer, FilledLine)]


@pytest.mark.parametrize(
    "args",
    [
        GenerationArgs(max_new_tokens=12),
        GenerationArgs(max_new_tokens=12, temperature=0),
        GenerationArgs(max_new_tokens=6, num_beams=3),
        GenerationArgs(max_new_tokens=12, temperature=1.5, top_k=20, top_p=1.0, seed=7),
    ],
    ids=["nucleus", "greedy", "beams", "top_k"],
)
def test_a_continuation_does_not_depend_on_the_lines_beside_it(llama: Path, args: GenerationArgs) -> None:
    alone = continuations(llama, replace(args, batch_size=1), LINES)
    assert [answer.prompt for answer in alone] == LINES
    assert sum(bool(answer.continuation) for answer in alone) == 5
    for batch_size in (2, 3, 32):
        assert continuations(llama, replace(args, batch_size=batch_size), LINES) == alone
    shuffled = continuations(llama, args, [*LINES[:2], "another line", *LINES[3:]])
    assert [shuffled[index] for index in (0, 3, 6)] == [alone[index] for index in (0, 3, 6)]


def test_a_filling_does_not_depend_on_the_lines_beside_it(roberta: Path) -> None:
    alone = fillings(roberta, GenerationArgs(batch_size=1), MASKED)
    assert [len(answer.masks) for answer in alone] == [1, 0, 0, 1, 2, 0, 2]
    assert [answer.filled for answer in alone if not answer.masks] == ["", "no mask", "  "]
    for batch_size in (2, 32):
        together = fillings(roberta, GenerationArgs(batch_size=batch_size), MASKED)
        assert [answer.filled for answer in together] == [answer.filled for answer in alone]
        for one, other in zip(together, alone, strict=True):
            flat = [[guess.probability for mask in answer.masks for guess in mask] for answer in (one, other)]
            assert flat[0] == pytest.approx(flat[1], abs=1e-5)


def test_what_is_drawn_depends_on_the_seed_and_the_lines_number(llama: Path) -> None:
    same = ["The lazy dog"] * 8
    args = GenerationArgs(max_new_tokens=8)
    drawn = [answer.continuation for answer in continuations(llama, args, same)]
    assert len(set(drawn)) > 4
    assert [answer.continuation for answer in continuations(llama, args, same)] == drawn
    other = [answer.continuation for answer in continuations(llama, replace(args, seed=2), same)]
    assert len(set(drawn) & set(other)) < 4
    greedy = continuations(llama, replace(args, temperature=0), same)
    assert len({answer.continuation for answer in greedy}) == 1


def test_a_sample_depends_on_its_number_and_the_first_is_what_is_drawn_alone(llama: Path) -> None:
    args = GenerationArgs(max_new_tokens=8, samples=3)
    samples = continuations(llama, args, LINES)
    assert [(answer.prompt, answer.sample) for answer in samples] == [(line, k) for line in LINES for k in (1, 2, 3)]
    assert [samples[0], *samples[6:9]] != [samples[1], *samples[7:10]]
    assert samples[::3] == continuations(llama, replace(args, samples=1), LINES)
    for batch_size in (1, 2, 77):
        assert continuations(llama, replace(args, batch_size=batch_size), LINES) == samples
    more = continuations(llama, replace(args, samples=5), [LINES[0], "another line", *LINES[2:]])
    assert [more[:3], more[10:13]] == [samples[:3], samples[6:9]]


def test_greedy_and_beams_agree_with_transformers(llama: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(llama).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama)
    inputs = tokenizer("The lazy dog", return_tensors="pt", return_token_type_ids=False)
    for num_beams in (1, 4):
        tokens = model.generate(**inputs, max_new_tokens=10, do_sample=False, num_beams=num_beams)
        args = GenerationArgs(max_new_tokens=10, temperature=0, num_beams=num_beams)
        [answer] = continuations(llama, args, ["The lazy dog"])
        assert answer.text == tokenizer.decode(tokens[0], skip_special_tokens=True)


def test_the_probabilities_of_a_mask_agree_with_transformers(roberta: Path) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(roberta).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(roberta)
    inputs = tokenizer("The <mask> dog", return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        logits = model(**inputs).logits[0, inputs["input_ids"][0] == tokenizer.mask_token_id][0]
    logits[tokenizer.all_special_ids] = -torch.inf
    best = logits.softmax(-1).topk(3)
    [answer] = fillings(roberta, GenerationArgs(top_k=3), ["The [MASK] dog"])
    assert [guess.token for guess in answer.masks[0]] == [tokenizer.decode([token]) for token in best.indices]
    assert [guess.probability for guess in answer.masks[0]] == pytest.approx(best.values.tolist(), abs=1e-6)


def test_a_model_that_was_trained_here_is_asked_by_run_checkpoint_or_folder(place: Place, tmp_path: Path) -> None:
    result = train([*place.arguments("first"), "--training_goal", "2 steps"], tmp_path)
    assert result.status == 0, result.stderr
    run = place.folder("first")
    names = [run.root, run.best, run.checkpoint(2), CheckpointFolder(run.best).model]
    answers = [fillings(name, GenerationArgs(), ["The <mask> keeper"])[0] for name in names]
    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0].masks[0]) == 5
    long = "The old keeper opened <mask> door " * 20 + "<mask>"
    [answer] = fillings(run.root, GenerationArgs(), [long])
    assert len(answer.masks) == 21


def test_a_model_is_asked_as_its_class_says() -> None:
    def ask(config: transformers.PretrainedConfig, *architectures: str) -> bool:
        config.architectures = list(architectures)
        return recognize(config, "model") == "clm"

    assert not ask(transformers.RobertaConfig(), "RobertaForMaskedLM")
    assert ask(transformers.RobertaConfig(), "RobertaForCausalLM")
    assert ask(transformers.GPT2Config(), "GPT2LMHeadModel")
    assert ask(transformers.GPT2Config(), "GPT2Model")
    assert not ask(transformers.BertConfig(), "BertModel")
    assert ask(transformers.BertConfig(is_decoder=True))
    assert recognize(transformers.T5Config(architectures=["T5ForConditionalGeneration"]), "model") == "seq2seq"
    assert recognize(transformers.BartConfig(), "model") == "seq2seq"
    tagger = transformers.BertConfig(architectures=["BertForTokenClassification"], num_labels=2)  # type: ignore[call-arg]
    assert recognize(tagger, "model") == "token_classification"
    tagger.num_labels = 1
    assert recognize(tagger, "model") == "replaced_token_detection"
    with pytest.raises(UserError, match="a vit model has learned none of mlm, clm, "):
        ask(transformers.ViTConfig(), "ViTForImageClassification")


def test_a_model_is_refused_for_what_another_class_learns() -> None:
    def check(objective: str, config: transformers.PretrainedConfig, *architectures: str) -> None:
        config.architectures = list(architectures)
        refuse_other_head(config, "model", objective)

    with pytest.raises(UserError, match="model has not learned clm: as a RobertaForMaskedLM it has learned mlm"):
        check("clm", transformers.RobertaConfig(), "RobertaForMaskedLM")
    with pytest.raises(UserError, match="as a ElectraForPreTraining it has learned replaced_token_detection"):
        check("mlm", transformers.ElectraConfig(), "ElectraForPreTraining")
    check("mlm", transformers.RobertaConfig(), "RobertaForMaskedLM")
    check("metadata_clm", transformers.GPT2Config(), "GPT2LMHeadModel")
    check("mlm", transformers.BertConfig(), "BertForPreTraining")  # no objective's own: its weights tell
    check("mlm", transformers.BertConfig())


def test_a_folder_without_weights_tokenizer_or_model_is_refused_in_one_line(roberta: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        Predictor(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no folder"):
        find_model("tests/nowhere")  # could be a name on the hub, but `tests` is here
    with pytest.raises(UserError, match="nothing to load"):
        Predictor(tmp_path)
    shutil.copytree(roberta, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights"):
        Predictor(tmp_path / "model")
    shutil.copy(roberta / "model.safetensors", tmp_path / "model")
    for file in tmp_path.glob("model/token*"):
        file.unlink()
    with pytest.raises(UserError, match="has no tokenizer"):
        Predictor(tmp_path / "model")


def test_a_model_without_its_head_is_not_asked_with_one_drawn_anew(roberta: Path, tmp_path: Path) -> None:
    transformers.AutoModel.from_pretrained(roberta).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(roberta).save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match="has not learned what it is asked for: it is a RobertaModel, which does not hold"
    ):
        Predictor(tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": -1.0}, "--temperature -1.0"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"top_p": 0.0}, "--top_p 0.0"),
        ({"top_k": 0}, "--top_k 0"),
        ({"num_beams": 0}, "--num_beams 0"),
        ({"batch_size": 0}, "--batch_size 0"),
        ({"max_new_tokens": 0}, "--max_new_tokens 0"),
        ({"num_beams": 2, "temperature": 1.0}, "leave --temperature out"),
        ({"samples": 0}, "--samples 0"),
        ({"samples": 2, "temperature": 0.0}, "--samples 2: with --temperature 0 nothing is drawn"),
        ({"samples": 2, "num_beams": 2}, "--samples 2: with --num_beams nothing is drawn"),
        ({"samples": 2, "top_k": 1}, "--samples 2: with --top_k 1 nothing is drawn"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(options: dict[str, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        GenerationArgs(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"max_new_tokens": 3}, {"temperature": 0}, {"top_p": 0.5}, {"num_beams": 2}, {"samples": 2}], ids=str
)
def test_options_of_text_are_refused_where_masks_are_filled(roberta: Path, options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(options))}: .* is not asked in this way"):
        Predictor(roberta, GenerationArgs(**options))  # type: ignore[arg-type]


def test_a_bare_word_is_a_path_else_a_run_else_a_name_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yml").touch()
    (tmp_path / "second").mkdir()
    (tmp_path / "runs" / "empty").mkdir()
    assert find_path("first") == Path("runs/first")
    assert find_path("second") == Path("second")
    assert find_path("./first") == Path("first")
    assert [find_path(name) for name in ("empty", "gpt2", "owner/first")] == [None] * 3


def test_lines_are_read_as_they_are_needed(roberta: Path) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "no mask"

    answers = Predictor(roberta, GenerationArgs(batch_size=4, accelerator="cpu")).windows(endless())
    assert len(next(answers)) == read == 32
    one_by_one = Predictor(roberta, GenerationArgs(batch_size=1, accelerator="cpu")).windows(endless())
    assert len(next(one_by_one)) == 1
    assert read == 33


def test_an_answerer_that_answers_too_few_lines_ends_with_an_error(
    roberta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(roberta, GenerationArgs(accelerator="cpu"))
    monkeypatch.setattr(predictor.answerer, "answer", lambda lines, first_number: [])
    with pytest.raises(ValueError, match="0 answers to 2 lines"):
        predictor.predict(["one", "two"])


def test_a_checkpoint_in_16_bits_computes_in_32_on_a_cpu(roberta: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(roberta)
    model.bfloat16().save_pretrained(tmp_path / "half")
    transformers.AutoTokenizer.from_pretrained(roberta).save_pretrained(tmp_path / "half")
    predictor = Predictor(tmp_path / "half", GenerationArgs(accelerator="cpu"))
    assert predictor.network.dtype == torch.float32
    assert len(SENTENCES) == len(predictor.predict(SENTENCES))


def test_a_model_whose_rows_depend_on_each_other_continues_one_line_at_a_time(tmp_path: Path) -> None:
    tokenizer = train_byte_level(tmp_path, "clm")
    config = transformers.RwkvConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2)
    folder = save_model(tmp_path / "rwkv", config, tokenizer, causal=True)
    args = GenerationArgs(max_new_tokens=6, temperature=0, accelerator="cpu")
    predictor = Predictor(folder, args)
    assert isinstance(predictor.answerer, TextContinuer)
    assert predictor.answerer.batch_size == 1
    assert predictor.predict(LINES) == Predictor(folder, replace(args, batch_size=1)).predict(LINES)


def test_a_bert_that_was_made_to_look_back_continues_text(tmp_path: Path) -> None:
    tokenizer = train_wordpiece()
    sizes = {**BERT_SIZES, "vocab_size": len(tokenizer), "eos_token_id": None, "bos_token_id": None}
    config = transformers.BertConfig(**sizes, is_decoder=True)
    folder = save_model(tmp_path / "bert", config, tokenizer, causal=True)
    args = GenerationArgs(max_new_tokens=8, temperature=0)
    alone = continuations(folder, replace(args, batch_size=1), LINES)
    assert continuations(folder, args, LINES) == alone
