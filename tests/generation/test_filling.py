"""Masks in lines: found however they are written, filled as the tokenizer writes words, in lines of any length."""

from pathlib import Path

import pytest
import transformers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dlib.args.generation import GenerationArgs
from dlib.generation.filling import MaskFiller, group_near
from dlib.process.errors import UserError
from tests.asking import POSITIONS, save_roberta, train_byte_level
from tests.toys import train_gpt2_like, train_metaspace, train_wordpiece

pytestmark = pytest.mark.oldest


def build_filler(folder: Path, tokenizer: PreTrainedTokenizerBase, context: int = POSITIONS) -> MaskFiller:
    """A filler with a toy RoBERTa."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(save_roberta(folder / "model", tokenizer)).eval()
    return MaskFiller(model, tokenizer, context, GenerationArgs(top_k=2, batch_size=4))


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> MaskFiller:
    """One with the tokenizer that `train.py` trains."""
    folder = tmp_path_factory.mktemp("byte-level")
    return build_filler(folder, train_byte_level(folder, "mlm"))


def put(filler: MaskFiller, before: str, token: str) -> str:
    """A text and a token of the vocabulary after it."""
    index = filler.tokenizer.convert_tokens_to_ids(token)
    assert isinstance(index, int)
    assert index != filler.tokenizer.unk_token_id
    return filler.put_in(before, index)


def test_words_and_their_continuations_are_put_in_as_byte_level_tokenizers_write_them(byte_level: MaskFiller) -> None:
    for before in ("see", "see "):
        assert put(byte_level, before, "Ġthe") == "see the"
        assert put(byte_level, before, "s") == "sees"
    assert put(byte_level, "", "Ġthe") == "the"
    assert put(byte_level, " ", "Ġthe") == " the"


def test_words_and_their_continuations_are_put_in_as_wordpiece_writes_them(tmp_path: Path) -> None:
    filler = build_filler(tmp_path, train_wordpiece())
    assert put(filler, "see ", "the") == "see the"
    assert put(filler, "漢", "字") == "漢字"  # no spaces there
    assert put(filler, "see ", "##s") == put(filler, "see", "##s") == "sees"


def test_words_and_their_continuations_are_put_in_as_sentencepiece_writes_them(tmp_path: Path) -> None:
    filler = build_filler(tmp_path, train_metaspace())
    assert put(filler, "see", "▁the") == put(filler, "see ", "▁the") == "see the"
    assert put(filler, "see ", "s") == "sees"


def test_a_mask_is_found_however_it_is_written(tmp_path: Path) -> None:
    filler = build_filler(tmp_path, train_wordpiece())  # its own word is [MASK]
    one, other, none = filler.answer(["the <mask> dog", "the [MASK] dog", "the <MASK> dog"], 1)
    assert len(one.masks) == 1
    assert (one.masks, one.filled) == (other.masks, other.filled)
    assert (none.filled, none.masks) == ("the <MASK> dog", [])


def test_each_mask_of_a_line_has_its_guesses_in_order(byte_level: MaskFiller) -> None:
    [answer] = byte_level.answer(["The <mask> jumps<mask>"], 1)
    assert [len(guesses) for guesses in answer.masks] == [2, 2]
    for guesses in answer.masks:
        assert 1 > guesses[0].probability > guesses[1].probability > 0
    assert "<mask>" not in answer.filled
    assert all(guesses[0].token.strip() in answer.filled for guesses in answer.masks)


def test_special_tokens_and_ids_without_a_token_are_no_guesses(tmp_path: Path) -> None:
    tokenizer = train_byte_level(tmp_path, "mlm")
    filler = build_filler(tmp_path, tokenizer)
    filler.model.resize_token_embeddings(len(tokenizer) + 24)
    everything = MaskFiller(filler.model, tokenizer, POSITIONS, GenerationArgs(top_k=10_000, batch_size=4))
    [answer] = everything.answer(["The <mask> dog"], 1)
    assert len(answer.masks[0]) == len(tokenizer) - len(tokenizer.all_special_ids)
    assert not {guess.token for guess in answer.masks[0]} & set(tokenizer.all_special_tokens)


def test_a_mask_of_a_long_line_is_read_in_a_window_around_it(byte_level: MaskFiller) -> None:
    room = POSITIONS - 2
    for mask_at in (0, 3, 500, 997, 999):
        ids = [10 + index % 300 for index in range(1000)]
        ids[mask_at] = byte_level.tokenizer.mask_token_id
        [row] = byte_level.rows_of(0, ids)
        [position] = row.positions
        assert len(row.ids) == POSITIONS
        assert row.ids[position] == byte_level.tokenizer.mask_token_id
        start = mask_at - (position - 1)
        assert row.ids[1:-1] == ids[start : start + room]
        assert position - 1 >= min(mask_at, room // 4)
        assert room - position >= min(999 - mask_at, room // 4)


def test_the_windows_of_a_long_line_hold_each_mask_once(byte_level: MaskFiller) -> None:
    ids = [byte_level.tokenizer.mask_token_id if index % 7 == 0 else 10 for index in range(2000)]
    rows = byte_level.rows_of(0, ids)
    assert sum(len(row.positions) for row in rows) == ids.count(byte_level.tokenizer.mask_token_id)
    assert max(len(row.ids) for row in rows) <= POSITIONS
    assert len(rows) < 100


def test_a_long_line_keeps_its_text_and_all_its_masks(byte_level: MaskFiller) -> None:
    line = "dog <mask> " + "the lazy fox " * 500 + "<mask> and <mask>" + " words" * 500
    [answer] = byte_level.answer([line], 1)
    assert len(answer.masks) == 3
    assert "the lazy fox " * 499 in answer.filled
    assert answer.filled.endswith(" words" * 500)


def test_a_context_that_is_all_special_tokens_still_answers(byte_level: MaskFiller) -> None:
    filler = MaskFiller(byte_level.model, byte_level.tokenizer, 2, GenerationArgs(top_k=1, batch_size=4))
    [answer] = filler.answer(["The <mask> dog and <mask>"], 1)
    assert len(answer.masks) == 2


def test_positions_are_grouped_within_a_span() -> None:
    assert group_near([1, 3, 5, 6, 20], 4) == [[1, 3, 5], [6], [20]]
    assert group_near([1, 2], 0) == [[1], [2]]
    assert group_near([], 4) == []


def test_a_tokenizer_without_a_mask_is_refused(byte_level: MaskFiller) -> None:
    tokenizer: PreTrainedTokenizerFast = train_gpt2_like()
    with pytest.raises(UserError, match="no mask token"):
        MaskFiller(byte_level.model, tokenizer, POSITIONS, GenerationArgs(top_k=1, batch_size=1))
