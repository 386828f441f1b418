"""Ids of remembered words are those that the tokenizer gives to the whole text, whatever its kind."""

import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from dlib.data import word_memory
from dlib.data.fingerprint import serialized_backend
from dlib.data.tokenizing import load_encode
from dlib.data.unknown_words import UnknownWordError
from dlib.data.word_memory import PATTERNS, WordMemory, has_words
from dlib.models.tokenizer_types import TOKENIZER_TYPES, TokenizerKind, train_kind

SENTENCES = ("Some words, and some more; don't!", "12 of 345 are naïve.", "a b c d e <mask> 你好 🙂")
# What normalizers and patterns treat each in its own way.
BITS = (
    *"ab 1.'",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    "é",
    "e\u0301",
    "\u0301",
    "\u00a8",
    "\u00a0",
    "\u200b",
    "\ufeff",
)
BITS += (
    "\u2581",
    "\ufffd",
    "ﷺ",
    "ﬁ",
    "²",
    "你",
    "🙂",
    "❤\ufe0f",
    "”",
    "—",
    "'s",
    "'S",
    "<mask>",
    "Σ",
    "İ",
    "_",
    "\x1c",
    "\u2028",
)
texts = st.lists(st.sampled_from(BITS), max_size=12).map("".join)


def llama3() -> Any:
    """How Llama 3 finds words."""
    split = pre_tokenizers.Split(Regex(PATTERNS[0]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def t5() -> Any:
    """How T5 writes a text, but for its table of characters."""
    return normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "▁")]
    )


BPE, UNIGRAM, WORD_PIECE = models.BPE, models.Unigram, partial(models.WordPiece, unk_token="[UNK]")
KINDS: dict[str, tuple[Callable[[], Any], Any, Any]] = {
    "gpt2": (BPE, None, partial(pre_tokenizers.ByteLevel, add_prefix_space=False)),
    "roberta": (BPE, None, pre_tokenizers.ByteLevel),
    "llama3": (BPE, normalizers.NFC, llama3),
    "gpt-neox": (BPE, normalizers.NFC, partial(pre_tokenizers.ByteLevel, add_prefix_space=False)),
    "bert": (WORD_PIECE, normalizers.BertNormalizer, pre_tokenizers.BertPreTokenizer),
    "t5": (UNIGRAM, t5, pre_tokenizers.Metaspace),
    "albert": (UNIGRAM, partial(normalizers.Replace, "``", '"'), pre_tokenizers.Metaspace),
    "first": (BPE, normalizers.Lowercase, partial(pre_tokenizers.Metaspace, prepend_scheme="first")),
    "words": (partial(models.WordLevel, unk_token="[UNK]"), normalizers.NFKD, pre_tokenizers.Whitespace),
}


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    """A small one of the kind, with a mask that takes the space before it; GPT-NeoX's has tokens of many spaces."""
    model, normalizer, pre_tokenizer = KINDS[kind]
    tokenizer = Tokenizer(model())
    tokenizer.pre_tokenizer = pre_tokenizer()
    if normalizer is not None:
        tokenizer.normalizer = normalizer()
    trainer = {BPE: trainers.BpeTrainer, UNIGRAM: trainers.UnigramTrainer, WORD_PIECE: trainers.WordPieceTrainer}
    options = {"unk_token": "[UNK]"} if model is UNIGRAM else {}
    made = trainer.get(model, trainers.WordLevelTrainer)
    tokenizer.train_from_iterator(
        SENTENCES, made(vocab_size=200, special_tokens=["[UNK]"], show_progress=False, **options)
    )
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    if kind == "gpt-neox":
        tokenizer.add_tokens(["  ", "   ", " \t"])
    return tokenizer


@cache
def memory_of(kind: str) -> WordMemory:
    """One that all examples share, so that what it should not have kept comes out."""
    encode = load_encode(tokenizer_of(kind).to_str(), encode_special_tokens=False)
    assert isinstance(encode, WordMemory)
    return encode


@pytest.mark.parametrize("kind", KINDS)
@given(batch=st.lists(texts, max_size=4))
@example(batch=["a  b", "a b ", " a", "", " ", "a", " \u0301a", "b \u0301a", "a\u200b b", "a <mask> b"])
@example(batch=["a" * 100 + " b", "b " + "a" * 100])
def test_ids_are_those_of_the_whole_text(kind: str, batch: list[str]) -> None:
    whole = tokenizer_of(kind).encode_batch(batch, add_special_tokens=False)
    for _ in range(2):  # learned, and remembered
        assert [one.ids.tolist() for one in memory_of(kind)(batch)] == [encoding.ids for encoding in whole]


class Counted:
    """Another encoding, and what it was asked."""

    def __init__(self, encode: Any) -> None:
        """Nothing yet."""
        self.encode, self.asked = encode, list[str]()

    def __call__(self, asked: list[str]) -> Any:
        """What the other says."""
        self.asked += asked
        return self.encode(asked)


def counted(kind: str = "gpt2") -> Counted:
    return Counted(partial(tokenizer_of(kind).encode_batch, add_special_tokens=False))


def test_a_word_is_asked_for_once() -> None:
    memory = WordMemory(encode := counted())
    memory(["some more words", "more words"])
    memory(["some words more more"])
    assert sorted(encode.asked) == [" more", " words", "more", "some"]


def test_what_cannot_be_parted_is_asked_for_again() -> None:
    memory = WordMemory(encode := counted())
    memory(["b  c d", "x" * 40])
    memory(["b  c d", "x" * 40])
    assert sorted(encode.asked) == sorted([" d", *["b  c", "x" * 40] * 2])


def test_words_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_memory, "MOST_WORDS", 2)
    memory = WordMemory(encode := counted())
    for text in ("a b c", "d", "a"):
        memory([text])
    assert encode.asked.count("a") == 2


def test_an_unknown_word_is_told_with_its_text() -> None:
    backend = json.loads(tokenizer_of("words").to_str())
    backend["model"]["unk_token"] = "none such"
    memory = load_encode(json.dumps(backend), encode_special_tokens=False)
    assert isinstance(memory, WordMemory)
    with pytest.raises(UnknownWordError, match="stranger") as told:
        memory(["Some words", "a b", "a stranger b"])
    assert told.value.place == 2


def with_step(part: str, step: dict[str, Any] | None) -> str:
    return json.dumps(json.loads(tokenizer_of("gpt2").to_str()) | {part: step})


SPLIT = {"type": "Split", "pattern": {"Regex": PATTERNS[0]}, "behavior": "Isolated", "invert": False}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


@pytest.mark.parametrize(
    ("part", "step"),
    [
        ("pre_tokenizer", None),
        ("pre_tokenizer", BYTES),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [BYTES, {"type": "WhitespaceSplit"}]}),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Later"}]}),
        ("pre_tokenizer", {"type": "CharDelimiterSplit", "delimiter": "_"}),
        ("pre_tokenizer", SPLIT | {"pattern": {"Regex": r"\w+ \w+"}}),
        ("pre_tokenizer", SPLIT | {"behavior": "MergedWithNext"}),
        ("pre_tokenizer", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}),
        ("normalizer", {"type": "Prepend", "prepend": "▁"}),
        ("normalizer", {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
        ("normalizer", {"type": "Replace", "pattern": {"Regex": "a.*b"}, "content": ""}),
        ("normalizer", {"type": "Strip", "strip_left": True, "strip_right": True}),
        ("model", {"type": "BPE", "dropout": 0.1}),
        ("model", {"type": "Later"}),
        ("added_tokens", [{"content": "<a>", "rstrip": True}]),
        ("added_tokens", [{"content": "two words", "rstrip": False}]),
        ("added_tokens", [{"content": " ", "rstrip": False}]),
    ],
)
def test_a_tokenizer_that_looks_across_words_is_asked_for_whole_texts(part: str, step: Any) -> None:
    assert not has_words(with_step(part, step))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_that_takes_words_one_by_one_is_known(kind: str) -> None:
    assert has_words(tokenizer_of(kind).to_str())


@pytest.mark.parametrize("name", TOKENIZER_TYPES)
def test_a_tokenizer_of_each_type_that_is_trained_here_takes_words_one_by_one(name: str) -> None:
    kind = TokenizerKind(tokenizer_type=name, special_tokens=("<place>",))
    trained = train_kind(lambda: iter(["some words of a text"]), 300, kind, open_ended=False)
    assert has_words(serialized_backend(trained)[0])
