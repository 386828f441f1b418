"""A word that a tokenizer has no token for is told with its line, by whichever process met it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dlib.data.samples import Columns
from dlib.data.token_store import build_token_store
from dlib.data.unknown_words import UnknownWordError, naming_unknown
from dlib.process.errors import UserError

WORDS = ["one", "two", "three"]


@pytest.fixture
def words_only() -> PreTrainedTokenizerFast:
    """A tokenizer of three words, none of which stands for others."""
    tokenizer = Tokenizer(models.WordLevel({"</s>": 0, **{word: id for id, word in enumerate(WORDS, start=1)}}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


@pytest.mark.parametrize(
    ("name", "write", "columns"),
    [
        ("a.txt", str, Columns()),
        ("a.jsonl", lambda text: json.dumps({"text": text}), Columns()),
        ("a.jsonl", lambda text: json.dumps({"words": text.split()}), Columns(("words",), lists=("words",))),
    ],
)
@pytest.mark.parametrize("line", [3, 10_000])
def test_its_line_and_the_word_are_named(
    name: str,
    write: Callable[[str], str],
    columns: Columns,
    line: int,
    words_only: PreTrainedTokenizerFast,
    tmp_path: Path,
    small_ranges: int,
) -> None:
    if line > 3 and name != "a.txt":
        pytest.skip("one large file shows the processes")
    lines = [write("one two three")] * (line - 1) + [write("two four"), write("one")]
    (tmp_path / name).write_text("\n".join(lines))
    with pytest.raises(UserError, match=rf"a\.\w+ line {line}: the tokenizer knows no word 'four'"):
        build_token_store(
            tmp_path / name, words_only, separator_id=0, cache_dir=tmp_path / "cache", columns=columns, processes=2
        )
    assert not [*(tmp_path / "cache").glob("*/manifest.json")]


def test_known_words_of_lists_have_a_token_each(words_only: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"words": ["one", "three"]}')
    columns = Columns(("words",), lists=("words",))
    store = build_token_store(
        tmp_path / "a.jsonl", words_only, separator_id=0, cache_dir=tmp_path / "cache", columns=columns
    )
    assert store.tokens.tolist() == [1, 3, 0]


def test_another_failure_stays_what_it_is(words_only: PreTrainedTokenizerFast) -> None:
    def fail(texts: list[str]) -> None:
        if len(texts) > 1:
            raise ValueError("too many")

    with pytest.raises(ValueError, match="too many"):
        naming_unknown(fail, ["one", "two"])
    with pytest.raises(UnknownWordError) as caught:
        naming_unknown(words_only, ["one", "two four"])
    assert caught.value.place == 1
