"""What an encoder-decoder makes of lines: its tokens' probability, and where in a line they belong."""

from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from dlib.args.generation import GenerationArgs
from dlib.generation.writing import SpanFiller, Writer
from tests.objectives.test_seq2seq import build_shape
from tests.objectives.test_span_corruption import train_with_sentinels

pytestmark = pytest.mark.oldest

NEW_TOKENS = 6


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """One with sentinels, trained on the spot."""
    return train_with_sentinels(tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_score_is_the_mean_log_probability_of_what_is_written(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    model: Any = build_shape(name, len(tokenizer))
    model.generation_config.forced_eos_token_id = None  # else the scores of generate know of no other last token
    args = GenerationArgs(max_new_tokens=NEW_TOKENS, scores=True)
    writer = Writer(model, tokenizer, 64, args)
    lines = ["The dog", "A tokenizer that is trained on the spot", "a"]
    for line, answer in zip(lines, writer.answer(lines, 1), strict=True):
        ids = torch.tensor([tokenizer(line)["input_ids"]])
        with torch.no_grad():
            found = model.generate(ids, max_new_tokens=NEW_TOKENS, output_scores=True, return_dict_in_generate=True)
        steps = model.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)
        assert answer.score == pytest.approx(steps.mean().item(), abs=1e-4)
        assert answer.text == f"{answer.written}\t{answer.score:.4f}"
    [plain] = Writer(model, tokenizer, 64, GenerationArgs(max_new_tokens=NEW_TOKENS)).answer(lines[:1], 1)
    assert (plain.score, plain.text) == (None, plain.written)


def test_gaps_are_filled_with_what_follows_their_sentinels(tokenizer: PreTrainedTokenizerBase) -> None:
    filler = SpanFiller(build_shape("t5", len(tokenizer)), tokenizer, 64, GenerationArgs())
    written = tokenizer("<extra_id_0> quick brown<extra_id_2> lazy")["input_ids"]
    line = "The <extra_id_0> fox jumps <extra_id_1> the <extra_id_2> dog <extra_id_9>."
    assert filler.decode(line, [0, *written, 1]) == "The quick brown fox jumps  the lazy dog ."
    assert filler.decode("No gap.", written) == "No gap."
    [sample] = filler.read(["The <extra_id_0> fox"])
    assert tokenizer.decode(sample.ids) == "The<extra_id_0> fox</s>"
