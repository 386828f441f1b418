"""A pair is joined, cut and typed as its tokenizer does it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from dlib.data.token_roles import token_roles
from dlib.objectives.pairs import Joiner, PairFrame, stack_pairs
from dlib.process.errors import UserError
from tests.toys import SENTENCES, train_metaspace, train_wordpiece

TEXTS = ["", "fox", SENTENCES[0], SENTENCES[2] * 2]


def bert() -> PreTrainedTokenizerFast:
    """[CLS] first [SEP] second [SEP], with token types."""
    tokenizer = train_wordpiece()
    tokenizer.backend_tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", tokenizer.sep_token_id), ("[CLS]", tokenizer.cls_token_id)
    )
    return tokenizer


def roberta() -> PreTrainedTokenizerFast:
    """<s> first </s></s> second </s>."""
    tokenizer = train_metaspace()
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.eos_token_id), ("<s>", tokenizer.bos_token_id), trim_offsets=False
    )
    return tokenizer


def joiner_of(tokenizer: PreTrainedTokenizerFast, max_length: int) -> Joiner:
    roles = token_roles(tokenizer)
    return Joiner(PairFrame.of(tokenizer, roles), roles, max_length)


def ids_of(tokenizer: PreTrainedTokenizerFast, text: str) -> np.ndarray:
    return np.array(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)


@pytest.mark.parametrize("max_length", [5, 6, 17, 18, 40, 500])
@pytest.mark.parametrize("make", [bert, roberta])
def test_rows_and_token_types_are_those_of_the_tokenizer(
    make: Callable[[], PreTrainedTokenizerFast], max_length: int
) -> None:
    tokenizer = make()
    joiner = joiner_of(tokenizer, max_length)
    for first in TEXTS:
        for second in TEXTS[1:]:
            parts = joiner.join(ids_of(tokenizer, first), ids_of(tokenizer, second))
            cut = {"truncation": "longest_first", "max_length": max_length}
            wanted = tokenizer(first, second, **cut, return_token_type_ids=True)
            assert np.concatenate(parts).tolist() == wanted["input_ids"]
            if make is bert:
                assert stack_pairs([parts], 0)["token_type_ids"][0].tolist() == wanted["token_type_ids"]
        alone = tokenizer(first, truncation=True, max_length=max_length)["input_ids"]
        assert np.concatenate(joiner.join(ids_of(tokenizer, first), ids_of(tokenizer, ""))).tolist() == alone


def test_a_tokenizer_that_joins_nothing_gets_separators() -> None:
    tokenizer = train_wordpiece()
    first, second = joiner_of(tokenizer, 20).join(np.array([7, 8]), np.array([9]))
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert (first.tolist(), second.tolist()) == ([start, 7, 8, end], [9, end])


def test_pairs_and_texts_alone_are_stacked_with_types_for_second_texts() -> None:
    batch = stack_pairs([(np.arange(3), np.arange(2)), (np.arange(4), np.arange(0))], pad_id=1)
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 0, 0, 0], [0] * 8]
    assert "token_type_ids" not in stack_pairs([(np.arange(3), np.arange(0))], pad_id=1)
    assert torch.equal(batch["attention_mask"].sum(1), torch.tensor([5, 4]))


def test_rows_without_room_for_text_are_refused() -> None:
    with pytest.raises(UserError, match=r"^--max_length 4 leaves no room for text beside 4 special tokens"):
        joiner_of(roberta(), 4)
