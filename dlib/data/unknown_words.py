"""Words that a tokenizer has no token for, nor one that stands for such: the library's own error does not name them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from dlib.process.errors import UserError, quoted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Found = TypeVar("Found")


class UnknownWordError(UserError):
    """A word that has no token, in the text at `place` of those that were to be encoded."""

    def __init__(self, place: int, word: str) -> None:
        """Name the word."""
        super().__init__(
            f"the tokenizer knows no word {quoted(word)}; one trained with --unknown_token token has a token for it"
        )
        self.place = place


def encode(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, however long, without special tokens around it.

    Raises:
        UnknownWordError: a word has no token.
    """

    def ids_of(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    return naming_unknown(ids_of, list(texts)) if texts else []


def naming_unknown(encode: Callable[[list[str]], Found], texts: list[str]) -> Found:
    """What `encode` makes of the texts.

    Raises:
        UnknownWordError: it failed, and fails at a word alone.
    """
    try:
        return encode(texts)
    except Exception as error:  # the library raises nothing narrower
        for place, text in enumerate(texts):
            for word in text.split():
                if not _can(encode, word):
                    raise UnknownWordError(place, word) from error
        raise


def _can(encode: Callable[[list[str]], object], word: str) -> bool:
    try:
        encode([word])
    except Exception:
        return False
    return True
