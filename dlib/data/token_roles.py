"""What the special tokens of a tokenizer are for.

It stands below the tokenizers themselves, because rows are cut and objectives are built by roles, whatever made them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tokenizers import models

from dlib.data.unknown_words import UnknownWordError, encode
from dlib.process.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

START_MARKS = ("Ġ", "▁", "Ċ")
"""What a token that starts a word starts with: a space or a line end in byte-level BPE, a space in SentencePiece."""


@dataclass(frozen=True)
class TokenRoles:
    """What the special tokens of a tokenizer are for, as ids."""

    lead_id: int  # stands at the start of every row: CLS or BOS, else the separator
    separator_id: int  # stands after every document: SEP or EOS
    pad_id: int  # fills short rows; never seen, as it is masked out
    mask_id: int | None  # stands for a token to be predicted; None where the tokenizer has none
    special_ids: frozenset[int]  # all tokens that stand for no text
    starts_word: np.ndarray  # for each id of the vocabulary whether its token starts a word (vocab_size,)
    name: str  # the tokenizer's name, for messages

    @property
    def vocab_size(self) -> int:
        """Number of ids, from 0 to the largest."""
        return len(self.starts_word)


def token_roles(tokenizer: "PreTrainedTokenizerBase") -> TokenRoles:
    """Read the roles of a tokenizer's special tokens.

    Raises:
        UserError: the tokenizer has neither a separator nor an end-of-text token.
    """
    name = tokenizer.name_or_path or "the tokenizer"
    separator_id = first_id(tokenizer.sep_token_id, tokenizer.eos_token_id)
    if separator_id is None:
        raise UserError(f"--tokenizer {name} has neither sep_token nor eos_token; documents cannot be separated")
    lead_id = first_id(tokenizer.cls_token_id, tokenizer.bos_token_id, separator_id)
    pad_id = first_id(tokenizer.pad_token_id, separator_id)
    assert lead_id is not None  # it falls back to the separator
    assert pad_id is not None  # likewise
    return TokenRoles(
        lead_id=lead_id,
        separator_id=separator_id,
        pad_id=pad_id,
        mask_id=tokenizer.mask_token_id,
        # GPT-2's unknown token is its end-of-text token too: what has a role stays special.
        special_ids=frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id} | {lead_id, separator_id, pad_id},
        starts_word=word_starts(tokenizer),
        name=name,
    )


class Frame(NamedTuple):
    """The special tokens that a tokenizer puts before and after a text, as ids."""

    start: list[int]
    end: list[int]


def find_frame(tokenizer: "PreTrainedTokenizerBase") -> Frame:
    """The special tokens around a text, found by looking at one."""
    text = "a"
    try:
        [bare] = encode(tokenizer, [text])
    except UnknownWordError:  # its tokens are words: one of them
        text = str(tokenizer.convert_ids_to_tokens(num_ids(tokenizer) - 1))
        [bare] = encode(tokenizer, [text])
    framed = tokenizer(text)["input_ids"]
    start = next(index for index in range(len(framed)) if framed[index : index + len(bare)] == bare)
    return Frame(framed[:start], framed[start + len(bare) :])


def num_ids(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Number of rows that an embedding needs: the largest id and one. Ids may have gaps, so tokens may be fewer."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def first_id(*candidates: int | None) -> int | None:
    """The first candidate that is not None."""
    return next((candidate for candidate in candidates if candidate is not None), None)


def word_starts(tokenizer: "PreTrainedTokenizerBase") -> np.ndarray:
    """For each id whether its token starts a word, words being what spaces separate (vocab_size,).

    Tokenizers write a word's start either as a mark on its first token ("Ġ", "▁") or as a mark on
    the others ("##"); the vocabulary itself tells which. The tokens of a word-level one are words.
    """
    vocabulary = tokenizer.get_vocab()
    if tokenizer.is_fast and isinstance(tokenizer.backend_tokenizer.model, models.WordLevel):
        return np.ones(num_ids(tokenizer), dtype=bool)
    marked_starts = [index for token, index in vocabulary.items() if token.startswith(START_MARKS)]
    marked_continuations = [index for token, index in vocabulary.items() if token.startswith("##")]
    starts = np.zeros(max(vocabulary.values()) + 1, dtype=bool)
    if len(marked_continuations) > len(marked_starts):
        starts[list(vocabulary.values())] = True
        starts[marked_continuations] = False
    else:
        starts[marked_starts] = True
    return starts
