"""Token ids of words, remembered: most words of a text have been seen, and looking up beats tokenizing again.

Many tokenizers part a text at its spaces before anything else, so that the ids of "some more text" are those of "some",
of " more" and of " text", one after the other. Whether one does is read from its `tokenizer.json`, of which a few whole
designs are known: RoBERTa's and GPT-2's, Llama 3's, BERT's, and those that are trained here. Any other tokenizer is
asked for whole texts, as are texts in which few words come again.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from dlib.data.token_parts import Encode, Encoding
from dlib.data.unknown_words import UnknownWordError

ID_TYPE = np.dtype("<u4")
# Words and their ids take about 300 bytes each.
MOST_WORDS = 64 * 1024
LONGEST_WORD = 32  # in characters
# Texts of so many characters, of which more than this share had to be asked for, are not worth it: numbers, hashes, a
# language without spaces. So many batches are tokenized as they come then, before another try.
ENOUGH_CHARACTERS, WORTHLESS_SHARE, RESTING_BATCHES = 64 * 1024, 0.4, 15
# Not expected in a text; one that has it is not cut.
CUT = "\0"

# By which Llama 3 and GPT-4, and Qwen 2, find words: a space is the first character of one, or a word by itself.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = (_PATTERN % "{1,3}", _PATTERN % "")


class WordIds(NamedTuple):
    """What is known of a text's tokens."""

    ids: np.ndarray  # (T,)
    offsets: Sequence[tuple[int, int]] = ()  # not remembered


class WordMemory:
    """The ids that a tokenizer gives to texts, most of them from memory."""

    def __init__(self, encode: Encode) -> None:
        """Begin with no words."""
        self._encode = encode
        # Words as they stand in a text, with the space before them; without one only a text's first word is looked up.
        self._ids: dict[str, bytes] = {}
        self._resting = 0  # batches to come that are not looked up

    def __call__(self, texts: list[str]) -> Iterable[Encoding]:
        """The ids of each text.

        Raises:
            UnknownWordError: a text has a word that has no token.
        """
        if not self._resting:
            with suppress(UnknownWordError):  # its place is among words: below it is among texts
                return [WordIds(np.frombuffer(b"".join(found), ID_TYPE)) for found in self._find(texts)]
        self._resting = max(0, self._resting - 1)
        return self._encode(texts)

    def _find(self, texts: Sequence[str]) -> list[list[bytes]]:
        """The ids of the words of each text, as bytes."""
        words_of = [_words(text) for text in texts]
        found_of = [[self._ids.get(word, b"") for word in words] for words in words_of]
        incomplete = {n: _joined(words_of[n]) for n, found in enumerate(found_of) if not all(found)}
        ids, asked = self._learn({piece for pieces in incomplete.values() for piece in pieces})
        characters = sum(map(len, texts))
        if characters >= ENOUGH_CHARACTERS and sum(map(len, asked)) > WORTHLESS_SHARE * characters:
            self._resting = RESTING_BATCHES
        return [[ids[piece] for piece in incomplete[n]] if n in incomplete else f for n, f in enumerate(found_of)]

    def _learn(self, pieces: Iterable[str]) -> tuple[dict[str, bytes], list[str]]:
        """The ids of pieces, and those that had to be asked for; words among these are remembered."""
        known = {piece: self._ids.get(piece, b"") for piece in pieces}
        asked = [piece for piece, ids in known.items() if not ids]
        encodings = self._encode(asked) if asked else ()
        found = {piece: np.array(one.ids, ID_TYPE).tobytes() for piece, one in zip(asked, encodings, strict=True)}
        if len(self._ids) + len(found) > MOST_WORDS:
            self._ids.clear()
        self._ids |= {piece: ids for piece, ids in found.items() if len(piece) <= LONGEST_WORD and _is_word(piece)}
        return known | found, asked


def _words(text: str) -> list[str]:
    """A text cut before each space."""
    return [text] if CUT in text else text.replace(" ", CUT + " ").removeprefix(CUT).split(CUT)


def _joined(words: Sequence[str]) -> list[str]:
    """The words, each with all blanks that stand before it: there may be more than a space."""
    joined = [words[0]]
    for word in words[1:]:
        if joined[-1] and not joined[-1][-1].isspace():
            joined.append(word)
        else:
            joined[-1] += word
    return joined


def _is_word(piece: str) -> bool:
    """Whether a piece is what `_words` finds, and may be cut off from what follows."""
    return piece != "" and not piece[-1].isspace() and " " not in piece[1:]


def takes_words_alone(backend: str) -> bool:
    """Whether a tokenizer, by its `tokenizer.json`, gives a word after a space the same ids whatever stands around."""
    content = json.loads(backend)
    normalizer, pre_tokenizer = content["normalizer"], content["pre_tokenizer"]
    is_bert = pre_tokenizer == {"type": "BertPreTokenizer"}  # it drops all blanks
    known_normalizers = (None, "NFC", "BertNormalizer") if is_bert else (None, "NFC")
    return (
        content["model"]["type"] in ("BPE", "Unigram", "WordLevel", "WordPiece")
        and not content["model"].get("dropout")
        and (normalizer and normalizer["type"]) in known_normalizers
        and (is_bert or _parts_at_spaces(pre_tokenizer))
        and _leaves_text(content["post_processor"])
        and all(_stays_in_word(token, may_be_blank=not is_bert) for token in content["added_tokens"])
    )


def _parts_at_spaces(pre_tokenizer: dict[str, Any] | None) -> bool:
    match pre_tokenizer:
        case {"type": "Whitespace" | "WhitespaceSplit"} | {"type": "ByteLevel", "use_regex": True}:
            return True
        case {"type": "Metaspace", "split": True}:  # before tokenizers 0.19 it does not say so, and may do otherwise
            return True
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "use_regex": False},
            ],
        }:
            return pattern in PATTERNS
    return False


def _leaves_text(post_processor: dict[str, Any] | None) -> bool:
    """Whether a post-processor has the tokens of a text once; it works without special tokens, too."""
    match post_processor:
        case None | {"type": "ByteLevel" | "RobertaProcessing" | "BertProcessing"}:
            return True
        case {"type": "Sequence", "processors": processors}:
            return all(map(_leaves_text, processors))
        case {"type": "TemplateProcessing", "single": single}:
            return [part["Sequence"]["id"] for part in single if "Sequence" in part] == ["A"]
    return False


def _stays_in_word(token: dict[str, Any], *, may_be_blank: bool) -> bool:
    """Whether an added token is never found across the space between two words."""
    text: str = token["content"]
    if token["rstrip"] or (token["normalized"] and not text.isascii()):
        return False
    if any(map(str.isspace, text)):  # several blanks are never found where one space is; one would be
        return may_be_blank and text.isspace() and len(text) > 1 and not (token["single_word"] or token["lstrip"])
    return True
