"""Token ids of words, remembered: most words of a text have been seen, and looking up beats tokenizing again.

Most tokenizers cut a text into words before anything else, so that the ids of "some more text" are those of "some",
of " more" and of " text", one after the other. Whether one does is read from its `tokenizer.json`: what is listed here
looks no further than a space with ordinary characters on both sides. Any other tokenizer is asked for whole texts.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import dropwhile, islice, repeat
from typing import Any, NamedTuple

import numpy as np

from dlib.data.unknown_words import UnknownWordError

ID_TYPE = np.dtype("<u4")
# Words and their ids take about 300 bytes each.
MOST_WORDS = 64 * 1024
LONGEST_WORD = 32  # in characters
# Not expected in a text; one that has it is not cut.
CUT = "\0"

NORMALIZERS = ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "StripAccents")
CUTTING_WORDS = ("Digits", "Punctuation")
FINDING_WORDS = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")
# By which Llama 3 and GPT-4, and Qwen 2, find words: a space is the first character of one, or a word by itself.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = (_PATTERN % "{1,3}", _PATTERN % "")
SHORTENED_BLANKS = ("Regex", " {2,}")
# SentencePiece takes these for blanks.
BLANKS = "\u2581\ufffd"


class WordIds(NamedTuple):
    """What is known of a text's tokens."""

    ids: np.ndarray  # (T,)
    offsets: Sequence[tuple[int, int]] = ()  # not remembered


class WordMemory:
    """The ids that a tokenizer gives to texts, most of them from memory."""

    def __init__(self, encode: Callable[[list[str]], Iterable[Any]]) -> None:
        """Begin with no words."""
        self._encode = encode
        self._ids: dict[str, bytes] = {}

    def __call__(self, texts: list[str]) -> list[WordIds]:
        """The ids of each text.

        Raises:
            UnknownWordError: a text has a word that has no token.
        """
        words_of = [[text] if CUT in text else text.replace(" ", CUT + " ").split(CUT) for text in texts]
        found_of = [list(map(self._ids.get, words, repeat(b""))) for words in words_of]
        pieces_of = {n: _pieces(words_of[n], found) for n, found in enumerate(found_of) if not all(found)}
        try:
            ids = self._learn({piece for pieces in pieces_of.values() for piece in pieces})
        except UnknownWordError:
            self._encode(texts)  # it names the text
            raise
        found_of_pieces = {n: map(ids.__getitem__, pieces) for n, pieces in pieces_of.items()}
        return [
            WordIds(np.frombuffer(b"".join(found_of_pieces.get(n, found)), ID_TYPE)) for n, found in enumerate(found_of)
        ]

    def _learn(self, pieces: Iterable[str]) -> dict[str, bytes]:
        """The ids of pieces; words among them are remembered."""
        known = {piece: self._ids.get(piece, b"") for piece in pieces}
        asked = [piece for piece, ids in known.items() if not ids]
        encodings = self._encode(asked) if asked else ()
        found = {piece: np.array(one.ids, ID_TYPE).tobytes() for piece, one in zip(asked, encodings, strict=True)}
        if len(self._ids) > MOST_WORDS:
            self._ids.clear()
        self._ids |= {piece: ids for piece, ids in found.items() if len(piece) <= LONGEST_WORD and _is_word(piece)}
        return known | found


def _pieces(words: list[str], found: Sequence[bytes]) -> list[str]:
    """Words as they are, or joined where they must not be parted."""
    are_words = all(_is_word(word) for word, ids in zip(words, found, strict=True) if not ids)
    return words if are_words else list(_joined(words))


def _joined(words: Sequence[str]) -> Iterator[str]:
    joined = words[0]
    for word in words[1:]:
        if joined and _is_ordinary(joined[-1]) and _begins_well(word):
            yield joined
            joined = word
        else:
            joined += word
    yield joined


def _is_word(piece: str) -> bool:
    """Whether a piece may be cut out wherever it stands."""
    return bool(piece) and _begins_well(piece) and _is_ordinary(piece[-1]) and " " not in piece[1:]


def _begins_well(piece: str) -> bool:
    return not piece.startswith(" ") or (len(piece) > 1 and _is_ordinary(piece[1]))


@cache
def _is_ordinary(character: str) -> bool:
    """Letters, numbers, punctuation and signs that no normalization opens or ends with a blank or an accent."""
    forms = unicodedata.normalize("NFKD", character) + unicodedata.normalize("NFKC", character)
    kinds = (unicodedata.category(form)[0] for form in (character, forms[0], forms[-1]))
    return character not in BLANKS and all(kind in "LNPS" for kind in kinds)


def has_words(backend: str) -> bool:
    """Whether a tokenizer, by its `tokenizer.json`, takes each word by itself, so that its ids can be remembered."""
    content = json.loads(backend)
    model, cutting = content["model"], _steps(content["pre_tokenizer"], "pretokenizers")
    return (
        model["type"] in MODELS
        and not model.get("dropout")
        and all(map(_normalizes_words, _steps(content["normalizer"], "normalizers")))
        and any(map(_finds_words, islice(dropwhile(_cuts_words, cutting), 1)))
        and all(map(_keeps_words, cutting))
        and not any(map(_may_join_words, content["added_tokens"]))
    )


def _steps(part: dict[str, Any] | None, kind: str) -> list[dict[str, Any]]:
    """What a normalizer or a pre-tokenizer does, one after the other."""
    if part is None:
        return []
    return [inner for step in part[kind] for inner in _steps(step, kind)] if part["type"] == "Sequence" else [part]


def _normalizes_words(step: dict[str, Any]) -> bool:
    """Whether a normalizer makes the same of a word alone and within a text."""
    if step["type"] == "Strip":
        return not step["strip_left"]
    if step["type"] == "Replace":
        ((kind, pattern),) = step["pattern"].items()
        return (kind, pattern) == SHORTENED_BLANKS or (kind == "String" and not _has_blank(pattern + step["content"]))
    return step["type"] in NORMALIZERS


def _finds_words(step: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer parts a text before each word, or before the space in front of it."""
    match step["type"]:
        case "ByteLevel":
            return bool(step["use_regex"])
        case "Metaspace":
            return bool(step["split"])
        case "Split":
            return step["behavior"] in ("Isolated", "Removed") and step["pattern"].get("Regex") in PATTERNS
        case kind:
            return kind in FINDING_WORDS


def _cuts_words(step: dict[str, Any]) -> bool:
    return step["type"] in CUTTING_WORDS


def _keeps_words(step: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer does the same to a word alone and within a text."""
    return _finds_words(step) or _cuts_words(step) or step["type"] in ("ByteLevel", "Metaspace")


def _may_join_words(token: dict[str, Any]) -> bool:
    """Whether an added token may take a space between two words, as one of several spaces alone cannot."""
    text: str = token["content"]
    return bool(token["rstrip"]) or (_has_blank(text) and not (text.isspace() and len(text) > 1))


def _has_blank(text: str) -> bool:
    return any(character.isspace() for character in unicodedata.normalize("NFKC", text))
