"""What a causal model is given of a line, and how what it writes becomes text."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from transformers import PreTrainedTokenizerBase

from dlib.args.generation import GenerationArgs
from dlib.data.token_roles import Frame, find_frame
from dlib.generation.continuing import TextContinuer, TextPieces
from dlib.process.errors import UserError
from tests.asking import POSITIONS, save_llama, train_byte_level
from tests.toys import train_gpt2_like, train_metaspace, train_wordpiece

pytestmark = pytest.mark.oldest

EIGHT_TOKENS = GenerationArgs(max_new_tokens=8)


def build_continuer(
    folder: Path, tokenizer: PreTrainedTokenizerBase, args: GenerationArgs = EIGHT_TOKENS
) -> TextContinuer:
    """A continuer with a toy Llama."""
    model = transformers.AutoModelForCausalLM.from_pretrained(save_llama(folder / "model", tokenizer)).eval()
    return TextContinuer(model, tokenizer, POSITIONS, args)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> TextContinuer:
    """One with the tokenizer that `train.py` trains."""
    folder = tmp_path_factory.mktemp("byte-level")
    return build_continuer(folder, train_byte_level(folder, "clm"))


def test_the_end_of_a_long_prompt_is_kept_after_the_start_token(byte_level: TextContinuer) -> None:
    ids = list(range(10, 310))
    assert byte_level.prompt_of(ids) == [byte_level.tokenizer.bos_token_id, *ids[-(POSITIONS - 8 - 1) :]]
    assert byte_level.prompt_of(ids[:3]) == [byte_level.tokenizer.bos_token_id, *ids[:3]]
    ending = " jumps over the lazy dog" * 20
    long, longer = byte_level.answer(["A" + ending, "Another words" + ending], 1)
    assert long.truncated
    assert long.prompt_tokens == longer.prompt_tokens == POSITIONS - 8


def test_lines_are_computed_together_where_padding_changes_nothing(byte_level: TextContinuer) -> None:
    assert byte_level.batch_size == GenerationArgs().batch_size


def test_two_long_prompts_that_end_alike_go_on_alike(tmp_path: Path) -> None:
    greedy = GenerationArgs(max_new_tokens=8, temperature=0)
    continuer = build_continuer(tmp_path, train_byte_level(tmp_path, "clm"), greedy)
    ending = " jumps over the lazy dog" * 20
    one, other = continuer.answer(["A tokenizer" + ending, "Whoever" + ending], 1)
    assert one.continuation == other.continuation != ""


def test_a_prompt_stays_open_whatever_its_tokenizer_puts_after_a_text(tmp_path: Path) -> None:
    masked = train_byte_level(tmp_path, "mlm")  # <s> text </s>
    assert find_frame(masked) == Frame([masked.bos_token_id], [masked.eos_token_id])
    assert build_continuer(tmp_path, masked).prompt_of([10, 11]) == [masked.bos_token_id, 10, 11]
    assert find_frame(train_gpt2_like()) == Frame([], [])
    assert find_frame(train_wordpiece()) == ([], [])


def test_a_line_of_which_the_tokenizer_leaves_nothing_is_continued_all_the_same(tmp_path: Path) -> None:
    tokenizer = train_wordpiece()
    assert tokenizer("\u00ad", add_special_tokens=False)["input_ids"] == []
    [answer] = build_continuer(tmp_path, tokenizer).answer(["\u00ad"], 1)
    assert answer.prompt_tokens == 1


@pytest.mark.parametrize("train_tokenizer", [train_metaspace, train_gpt2_like, train_wordpiece])
def test_new_tokens_become_the_text_that_follows(
    train_tokenizer: Callable[[], PreTrainedTokenizerBase], tmp_path: Path
) -> None:
    tokenizer = train_tokenizer()
    continuer = build_continuer(tmp_path, tokenizer)
    text = "the lazy dog and the jumping fox"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    for cut in range(1, len(ids)):
        before = str(tokenizer.decode(ids[:cut]))
        assert before + continuer.text_after(ids[:cut], ids[cut:]) == text


def test_the_pieces_of_a_stream_are_the_answer(byte_level: TextContinuer) -> None:
    for number, line in enumerate(["The lazy dog", "漢字", " ", ""], start=1):
        pieces: list[str] = []
        streamed = byte_level.stream(line, number, pieces.append)
        assert streamed == byte_level.answer([line], number)[0]
        assert "".join(pieces) == streamed.text
        assert pieces[0] == line
        assert len(pieces) > 2 or not line.strip()


def test_a_character_of_several_tokens_is_shown_when_it_is_whole(byte_level: TextContinuer) -> None:
    ids = byte_level.tokenizer("a 🙂 b", add_special_tokens=False)["input_ids"]
    smiles = byte_level.tokenizer("🙃🙃", add_special_tokens=False)["input_ids"]
    shown: list[str] = []
    pieces = TextPieces(byte_level.decode, shown.append, frozenset([2]))
    pieces.put(torch.tensor([[10, 11]]))  # the prompt
    for token in [*ids, *smiles[:-1], 2]:
        pieces.put(torch.tensor([token]))
    assert "".join(shown) == "a 🙂 b🙃"
    assert all("\ufffd" not in piece for piece in shown)
    pieces.end()
    assert "".join(shown) == byte_level.decode([*ids, *smiles[:-1]])


def test_an_end_token_ends_the_text(byte_level: TextContinuer) -> None:
    end = byte_level.tokenizer.eos_token_id
    answer = byte_level.finish("The", [10], [20, 21, end, 22, end], truncated=False)
    assert (answer.tokens, answer.finish_reason) == (2, "stop")
    assert answer.continuation == byte_level.text_after([10], [20, 21])
    assert byte_level.finish("The", [10], [20, 21], truncated=False).finish_reason == "length"
    assert byte_level.finish("The", [10], [end], truncated=False).text == "The"


def test_without_a_number_of_new_tokens_half_of_the_context_is_left_to_the_prompt(tmp_path: Path) -> None:
    continuer = build_continuer(tmp_path, train_byte_level(tmp_path, "clm"), GenerationArgs())
    assert continuer.max_new_tokens == POSITIONS // 2
    with pytest.raises(UserError, match=r"--max_new_tokens 47: the model reads 48 .* give 46 or less"):
        TextContinuer(continuer.model, continuer.tokenizer, POSITIONS, GenerationArgs(max_new_tokens=POSITIONS - 1))


def test_the_options_saved_with_a_model_do_not_change_what_is_asked(byte_level: TextContinuer) -> None:
    args = GenerationArgs(max_new_tokens=8, temperature=0)
    model, tokenizer = byte_level.model, byte_level.tokenizer
    plain = TextContinuer(model, tokenizer, POSITIONS, args).answer(["The lazy dog"], 1)
    model.generation_config = transformers.GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=50.0, suppress_tokens=list(range(20, 200)), max_length=3
    )
    assert TextContinuer(model, tokenizer, POSITIONS, args).answer(["The lazy dog"], 1) == plain
