"""Ids of remembered words are those that the tokenizer gives to the whole text, whatever its kind."""

import json
import random
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from dlib.data import word_memory
from dlib.data.fingerprint import serialized_backend
from dlib.data.tokenizing import load_encode
from dlib.data.unknown_words import UnknownWordError
from dlib.data.word_memory import PATTERNS, WordMemory, takes_words_alone
from dlib.models.tokenizer_types import TOKENIZER_TYPES, TokenizerKind, train_kind

# What normalizers and patterns treat each in its own way.
BITS = [*"ab1.'_", *[" "] * 4, "  ", "   ", "\t", "\n", "\r\n", "\0", "\x1c", "\u00a0", "\u2028", "\u200b", "\ufeff"]
BITS += ["é", "e\u0301", "\u0301", "\u00a8", "\u2581", "\ufffd", "ﷺ", "ﬁ", "²", "Σ", "İ", "你", "好", "🙂", "❤\ufe0f"]
BITS += ["”", "—", "'s", "'S", "!", "<mask>", "<place>"]
texts = st.lists(st.sampled_from(BITS), max_size=12).map("".join)


def llama3() -> Any:
    """How Llama 3 finds words."""
    split = pre_tokenizers.Split(Regex(PATTERNS[0]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# The end of a word is part of a token, so that a cut at a wrong place shows.
BPE = partial(models.BPE, unk_token="[UNK]", end_of_word_suffix="</w>")
WORD_PIECE, WORDS = partial(models.WordPiece, unk_token="[UNK]"), partial(models.WordLevel, unk_token="[UNK]")
GPT2 = partial(pre_tokenizers.ByteLevel, add_prefix_space=False)
TRAINERS: dict[Any, Callable[..., Any]] = {
    BPE: partial(trainers.BpeTrainer, end_of_word_suffix="</w>"),
    WORD_PIECE: trainers.WordPieceTrainer,
    WORDS: trainers.WordLevelTrainer,
    models.Unigram: partial(trainers.UnigramTrainer, unk_token="[UNK]"),
}
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "gpt2": (BPE, None, GPT2),
    "roberta": (BPE, None, pre_tokenizers.ByteLevel),
    "gpt-neox": (BPE, normalizers.NFC, GPT2),
    "llama3": (BPE, normalizers.NFC, llama3),
    "bert": (WORD_PIECE, normalizers.BertNormalizer, pre_tokenizers.BertPreTokenizer),
    "bpe": (BPE, None, partial(pre_tokenizers.Metaspace, prepend_scheme="first")),
    "unigram": (models.Unigram, None, pre_tokenizers.Metaspace),
    "words": (WORDS, None, pre_tokenizers.Whitespace),
    "whitespace": (WORDS, None, pre_tokenizers.WhitespaceSplit),
}


@cache
def backend_of(kind: str) -> str:
    """A tokenizer of the kind that knows all bits, and runs of blanks, with a mask that takes the space before it."""
    model, normalizer, pre_tokenizer = KINDS[kind]
    tokenizer = Tokenizer(model())
    tokenizer.pre_tokenizer = pre_tokenizer()
    if normalizer is not None:
        tokenizer.normalizer = normalizer()
    randomness = random.Random(1)
    learned = ["".join(randomness.choices(BITS, k=12)) for _ in range(3000)]
    trainer = TRAINERS[model](vocab_size=3000, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(learned, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.add_tokens([AddedToken("<place>", single_word=True)])
    if kind == "gpt-neox":
        tokenizer.add_tokens(["  ", "   ", " \t"])
    return tokenizer.to_str()


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    """Read from the text, which rounds the scores of Unigram."""
    return Tokenizer.from_str(backend_of(kind))


@cache
def memory_of(kind: str) -> WordMemory:
    """One that all examples share, so that what it should not have kept comes out."""
    encode = load_encode(backend_of(kind), encode_special_tokens=False)
    assert isinstance(encode, WordMemory)
    return encode


def ids_of(memory: WordMemory, batch: list[str]) -> list[list[int]]:
    return [list(map(int, one.ids)) for one in memory(batch)]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # the first example trains a tokenizer
@given(batch=st.lists(texts, min_size=8, max_size=8))
@example(batch=["a  b", "a b ", " a", "", " ", "a", " \t a", "b \t a", "\ta b", "a <mask> b", "a   b", "b  "])
@example(batch=["a" * 100 + " b", "b " + "a" * 100])
def test_ids_are_those_of_the_whole_text(kind: str, batch: list[str]) -> None:
    whole = [encoding.ids for encoding in tokenizer_of(kind).encode_batch(batch, add_special_tokens=False)]
    for _ in range(2):  # learned, and remembered
        assert ids_of(memory_of(kind), batch) == whole


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


def test_several_blanks_and_long_words_are_not_remembered() -> None:
    memory = WordMemory(encode := counted())
    memory(["b  c d", "x" * 40])
    memory(["b  c d", "x" * 40])
    assert sorted(encode.asked) == sorted(["b", " d", *["  c", "x" * 40] * 2])


def test_words_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_memory, "MOST_WORDS", 2)
    memory = WordMemory(encode := counted())
    for text in ("a b", "d", "a"):
        memory([text])
    assert encode.asked.count("a") == 2


def test_a_text_of_which_few_words_come_again_is_tokenized_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_memory, "ENOUGH_CHARACTERS", 5)
    memory = WordMemory(encode := counted())
    numbers = [f"1{number} 2{number}" for number in range(18)]
    whole = [encoding.ids for encoding in tokenizer_of("gpt2").encode_batch(numbers, add_special_tokens=False)]
    assert [ids for number in numbers for ids in ids_of(memory, [number])] == whole
    assert encode.asked[2:17] == numbers[1:16]
    assert sorted(encode.asked[17:19]) == [" 216", "116"]


def test_an_unknown_word_is_told_with_its_text() -> None:
    backend = json.loads(backend_of("words"))
    backend["model"]["unk_token"] = "none such"
    memory = load_encode(json.dumps(backend), encode_special_tokens=False)
    assert isinstance(memory, WordMemory)
    with pytest.raises(UnknownWordError, match="stranger") as told:
        memory(["a b", "b a", "a stranger b"])
    assert told.value.place == 2


def with_step(part: str, step: dict[str, Any] | None) -> str:
    return json.dumps(json.loads(backend_of("gpt2")) | {part: step})


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
FINDING = BYTES | {"use_regex": True}
SPLIT = {"type": "Split", "pattern": {"Regex": PATTERNS[0]}, "behavior": "Isolated", "invert": False}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
TOKEN = {"content": "<a>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}


def in_turn(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": [*steps]}


@pytest.mark.parametrize(
    ("part", "step"),
    [
        ("pre_tokenizer", None),
        ("pre_tokenizer", BYTES),
        ("pre_tokenizer", in_turn(FINDING, METASPACE)),
        ("pre_tokenizer", in_turn(SPLIT | {"pattern": {"Regex": r"\w+ \w+"}}, BYTES)),
        ("pre_tokenizer", in_turn(SPLIT | {"behavior": "MergedWithNext"}, BYTES)),
        ("pre_tokenizer", {"type": "CharDelimiterSplit", "delimiter": "_"}),
        ("pre_tokenizer", METASPACE | {"split": False}),
        ("pre_tokenizer", {name: value for name, value in METASPACE.items() if name != "split"}),
        ("normalizer", {"type": "BertNormalizer"}),
        ("normalizer", {"type": "Precompiled"}),
        ("normalizer", {"type": "Prepend", "prepend": "▁"}),
        ("normalizer", {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
        ("model", {"type": "BPE", "dropout": 0.1}),
        ("model", {"type": "Later"}),
        ("post_processor", {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}] * 2}),
        ("post_processor", {"type": "Sequence", "processors": [{"type": "Later"}]}),
        ("added_tokens", [TOKEN | {"rstrip": True}]),
        ("added_tokens", [TOKEN | {"content": "two words"}]),
        ("added_tokens", [TOKEN | {"content": " "}]),
        ("added_tokens", [TOKEN | {"content": "  ", "single_word": True}]),
        ("added_tokens", [TOKEN | {"content": "New▁York"}]),
    ],
)
def test_a_tokenizer_that_may_look_across_words_is_asked_for_whole_texts(part: str, step: Any) -> None:
    assert not takes_words_alone(with_step(part, step))


def test_bert_with_a_token_of_blanks_is_asked_for_whole_texts() -> None:
    tokenizer = Tokenizer.from_str(backend_of("bert"))
    tokenizer.add_tokens(["  "])  # which its normalizer makes of a Chinese character and a space
    assert not takes_words_alone(tokenizer.to_str())


def test_many_threads_are_not_given_up_for_a_memory() -> None:
    backend = backend_of("gpt2")
    assert not isinstance(load_encode(backend, encode_special_tokens=False, threads=16), WordMemory)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_that_takes_words_one_by_one_is_known(kind: str) -> None:
    assert takes_words_alone(backend_of(kind))


@pytest.mark.parametrize("name", TOKENIZER_TYPES)
def test_a_tokenizer_of_each_type_that_is_trained_here_takes_words_one_by_one(name: str) -> None:
    kind = TokenizerKind(tokenizer_type=name, special_tokens=("<place>",))
    trained = train_kind(lambda: iter(["some words of a text"]), 300, kind, open_ended=False)
    assert takes_words_alone(serialized_backend(trained)[0])
