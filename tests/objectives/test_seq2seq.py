"""Encoder-decoders: their loss is Hugging Face's own; how texts are framed, cut, written and compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args import ModelArgs, ObjectiveArgs
from dlib.data.samples import Columns, Sample
from dlib.data.token_roles import token_roles
from dlib.data.token_store import build_token_store
from dlib.models.loading import load_model_config
from dlib.models.tokenization import train_tokenizer
from dlib.models.tokenizer_types import TokenizerKind
from dlib.objectives.objective import Evaluated
from dlib.objectives.padding import pack_texts, unpack_texts
from dlib.objectives.seq2seq import SequenceToSequence, Written
from dlib.objectives.text_metrics import describe_scores, score_texts
from dlib.process.errors import UserError
from dlib.runs.metrics_log import BestMetric
from tests.launching import ROOT
from tests.toys import PAD, SENTENCES, SEPARATOR, VOCAB_SIZE, toy_roles, toy_row

pytestmark = pytest.mark.oldest

SMALL = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
SHAPES = ("t5", "bart", "marian")
ALL = ["bleu", "chrf", "exact_match", "rouge"]


def build_shape(name: str, vocab_size: int = VOCAB_SIZE) -> PreTrainedModel:
    """A shipped shape, made small, for the toy vocabulary or another."""
    config = transformers.AutoConfig.from_pretrained(ROOT / "configs" / "models" / f"{name}-tiny")
    for key, value in {**SMALL, "vocab_size": vocab_size, "decoder_vocab_size": vocab_size}.items():
        if hasattr(config, key):
            setattr(config, key, value)
    config.pad_token_id, config.eos_token_id = PAD, SEPARATOR
    torch.manual_seed(1)
    return transformers.AutoModelForSeq2SeqLM.from_config(config).eval()


def samples() -> list[Sample]:
    """Pairs of rows of unequal lengths."""
    lengths = ((5, 9), (12, 3), (7, 7), (2, 1))
    return [
        Sample(tuple(toy_row(length + 1, number)[1:] for length in pair), number=number)
        for number, pair in enumerate(lengths)
    ]


def loss_and_gradients(model: PreTrainedModel, loss: Tensor) -> tuple[float, dict[str, Tensor]]:
    """A loss, and the gradient of each weight by its name."""
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", SHAPES)
def test_the_loss_of_a_batch_is_that_of_the_plain_model_with_its_own_loss(name: str) -> None:
    model, objective = build_shape(name), SequenceToSequence(ObjectiveArgs(objective="seq2seq"), toy_roles())
    batch = objective.collate(samples())
    weight = sum(map(objective.weight, samples()))
    assert weight == int((batch["labels"] >= 0).sum())
    own, gradients = loss_and_gradients(model, objective.loss_sum(model, batch) / weight)
    theirs, their_gradients = loss_and_gradients(model, model(**batch).loss)
    assert own == pytest.approx(theirs, abs=1e-5)
    assert gradients.keys() == their_gradients.keys()
    assert all(torch.allclose(gradient, their_gradients[name], atol=1e-5) for name, gradient in gradients.items())


def test_smoothing_is_of_the_loss_in_training_alone() -> None:
    args = ObjectiveArgs(objective="seq2seq", label_smoothing_factor=0.1)
    model, objective, plain = build_shape("t5"), SequenceToSequence(args, toy_roles()), samples()
    batch = objective.collate(plain)
    usual = SequenceToSequence(ObjectiveArgs(objective="seq2seq"), toy_roles())
    logits = model(**batch).logits
    smoothed = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch["labels"].flatten(), label_smoothing=0.1, reduction="sum"
    )
    assert objective.loss_sum(model, batch).item() == pytest.approx(smoothed.item(), rel=1e-5)
    assert objective.row_losses(model, batch).sum().item() == pytest.approx(smoothed.item(), rel=1e-5)
    alone = [objective.loss_sum(model, objective.collate([sample])).item() for sample in plain]
    assert objective.row_losses(model, batch).tolist() == pytest.approx(alone, rel=1e-4)
    assert usual.row_losses(model, batch).sum().item() == pytest.approx(usual.loss_sum(model, batch).item(), rel=1e-5)
    assert objective.evaluate(model, batch).sums == usual.evaluate(model, batch).sums


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, PreTrainedTokenizerBase]:
    """Trained ones, by whether a text begins with the lead token."""
    text = tmp_path_factory.mktemp("text") / "text.txt"
    text.write_text("".join(f"{line}\n" for line in SENTENCES))
    return {
        leads: train_tokenizer(text, 300, "strict", kind=TokenizerKind(leads=leads), open_ended=False)
        for leads in (False, True)
    }


@dataclass(frozen=True)
class Cut:
    """A pair that was cut."""

    source: list[int]
    target: list[int]


def cut(tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int) -> Cut:
    """A pair as a batch has it, cut to so many tokens."""
    text = folder / "train.jsonl"
    text.write_text('{"source": "The dog", "target": "a dog"}\n')
    roles = token_roles(tokenizer)
    objective = SequenceToSequence(ObjectiveArgs(objective="seq2seq"), roles, tokenizer)
    columns = Columns(("source", "target"))
    store = build_token_store(
        text, tokenizer, separator_id=roles.separator_id, cache_dir=folder / "cache", columns=columns, processes=1
    )
    batch = objective.collate([objective.rows(store, max_length).sample(0)])
    return Cut(batch["input_ids"][0].tolist(), batch["labels"][0].tolist())


@pytest.mark.parametrize("leads", [False, True])
def test_texts_are_framed_as_their_tokenizer_does(
    tokenizers: dict[bool, PreTrainedTokenizerBase], tmp_path: Path, leads: bool
) -> None:
    tokenizer = tokenizers[leads]
    assert cut(tokenizer, tmp_path, 64) == Cut(tokenizer("The dog")["input_ids"], tokenizer("a dog")["input_ids"])


def test_a_source_that_is_cut_has_its_end_and_a_target_has_none(
    tokenizers: dict[bool, PreTrainedTokenizerBase], tmp_path: Path
) -> None:
    tokenizer = tokenizers[False]
    source, target = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("The dog", "a dog"))
    assert cut(tokenizer, tmp_path, 3) == Cut([*source[:2], tokenizer.eos_token_id], target[:3])


@pytest.mark.parametrize("name", SHAPES)
def test_a_decoder_from_scratch_speaks_of_its_tokenizers_ids(
    tokenizers: dict[bool, PreTrainedTokenizerBase], name: str
) -> None:
    tokenizer = tokenizers[False]
    args = ModelArgs(from_scratch=True)
    config = load_model_config(args, str(ROOT / "configs" / "models" / f"{name}-tiny"), tokenizer)
    model = transformers.AutoModelForSeq2SeqLM.from_config(config)
    usual = model.generation_config
    assert (usual.decoder_start_token_id, usual.eos_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert model.get_output_embeddings().out_features == model.get_input_embeddings().num_embeddings


def test_texts_come_back_from_a_batch() -> None:
    texts = ["", "漢字 and 🙂", "a\nb\x00"]
    assert unpack_texts(pack_texts(texts)) == texts


ROUGE_SCORE = {"rouge1": 0.553030303030303, "rouge2": 0.4305555555555556, "rougeL": 0.5075757575757576}
"""What the package rouge-score 0.1.2 says of these, as a mean of F without stemming."""
HYPOTHESES = ["A man sleeps in a green room.", "two dogs", "", "The police killed the gunman"]
REFERENCES = ["A man is sleeping in a green room on a couch.", "two dogs", "nothing", "The gunman was shot by police"]


def test_scores_are_those_of_sacrebleu() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    found = score_texts(ALL, HYPOTHESES, REFERENCES)
    assert found["bleu"] == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert found["chrf"] == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score
    assert found["chrf++"] == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES], word_order=2).score
    assert found["exact_match"] == 0.25
    assert describe_scores(ALL)["chrf++"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:2|")
    assert describe_scores(["exact_match"]) == {}


def test_rouge_is_that_of_rouge_score() -> None:
    found = score_texts(["rouge"], HYPOTHESES, REFERENCES)
    assert found == pytest.approx(ROUGE_SCORE, abs=1e-6)


def test_the_first_metric_of_what_is_written_says_what_is_best() -> None:
    pytest.importorskip("sacrebleu")

    def best(**args: Any) -> BestMetric:
        return SequenceToSequence(ObjectiveArgs(objective="seq2seq", **args), toy_roles()).best

    assert best() == BestMetric("dev/loss")
    assert best(eval_generate_samples=8) == BestMetric("dev/bleu", highest=True)
    assert best(eval_generate_samples=8, eval_metrics=["rouge", "bleu"]) == BestMetric("dev/rougeL", highest=True)


def test_a_missing_sacrebleu_is_told_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlib.objectives.text_metrics.find_spec", lambda name: None)
    args: Any = {"objective": "seq2seq", "eval_generate_samples": 8}
    with pytest.raises(UserError, match="need the package sacrebleu: pip install"):
        SequenceToSequence(ObjectiveArgs(**args), toy_roles())
    SequenceToSequence(ObjectiveArgs(**args, eval_metrics=["exact_match"]), toy_roles())


def test_what_was_written_is_put_out_and_rows_without_are_not() -> None:
    objective = SequenceToSequence(ObjectiveArgs(objective="seq2seq"), toy_roles())
    written = Written("eins", "one", "two")
    line = {"source": "eins", "reference": "one", "hypothesis": "two"}
    assert objective.outputs(Evaluated({}, [written, None])) == [line]
