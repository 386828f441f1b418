"""Several stores as one, and a store that ends early."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from dlib.args import DataArgs
from dlib.config.corpora import Corpus
from dlib.data.finding import find_split, find_text
from dlib.data.joined_store import joined, limited
from dlib.data.mixture import MixedRows
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.text_data import TextData, build_text_data
from dlib.data.token_roles import token_roles
from dlib.data.token_store import TokenStore
from dlib.process.errors import UserError

Make = Callable[[str], TokenStore]
LINES = "one two three\nfour\nfive six\n"


def texts(store: TokenStore) -> list[list[int]]:
    return [store.segment(number).tolist() for number in range(store.num_documents)]


def test_a_limited_store_has_the_first_documents_alone(make_store: Make) -> None:
    store = make_store(LINES)
    first = limited(store, Corpus("a", "a", limit=2))
    assert texts(first) == texts(store)[:2]
    assert first.num_tokens == len(first.tokens) == store.offsets[2]
    assert limited(store, Corpus("a", "a")) is store
    assert texts(limited(store, Corpus("a", "a", limit=9))) == texts(store)
    for tokens in range(1, store.num_tokens + 2):
        part = limited(store, Corpus("a", "a", limit_tokens=tokens))
        assert part.num_documents == max(1, sum(end <= tokens for end in store.offsets[1:]))


def test_joined_stores_have_the_documents_of_each_in_turn(make_store: Make) -> None:
    one, two = make_store(LINES), make_store("seven\neight nine\n")
    both = joined([one, two])
    assert texts(both) == texts(one) + texts(two)
    assert (both.num_tokens, both.num_bytes) == (one.num_tokens + two.num_tokens, one.num_bytes + two.num_bytes)
    assert len({store.recipe.text_sha256 for store in (one, two, both)}) == 3
    assert joined([one]) is one
    for refused in ("tokens", "offsets"):
        with pytest.raises(TypeError, match="several files"):
            getattr(both, refused)


def build(
    folder: Path, tokenizer: PreTrainedTokenizerFast, columns: Columns = TEXT_ONLY, **options: object
) -> TextData:
    args = DataArgs(str(folder), max_length=8, cache_dir=str(folder / "cache"), tokenizer_processes=1)
    args = replace(args, **options)  # type: ignore[arg-type]
    roles = token_roles(tokenizer)
    return build_text_data(args, find_text(args), tokenizer, roles, columns=columns)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "dev"):
        (tmp_path / f"{name}.txt").write_text(LINES * 4)
        labelled = [f'{{"text": "{name} {number}", "label": "{name}{number % 2}"}}\n' for number in range(5)]
        (tmp_path / f"{name}.jsonl").write_text("".join(labelled))
    (tmp_path / "b.txt").write_text("other words\n" * 9)
    return tmp_path


def test_one_text_of_train_and_dev_has_the_rows_and_hashes_of_the_plain_flags(
    folder: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    plain = build(folder, byte_tokenizer, train_file="a.txt")
    named = build(folder, byte_tokenizer, train=["a.txt:0.5"], dev=["dev.txt"])
    roles = token_roles(byte_tokenizer)
    assert plain.fingerprints(roles) == named.fingerprints(roles)
    assert type(plain.train) is type(named.train)
    assert plain.train_store == named.train_store


def test_several_texts_have_hashes_of_their_own_and_rows_of_each(
    folder: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    data = build(folder, byte_tokenizer, train=["a.txt:2", "b.txt:1"], dev=["dev.txt", "other=b.txt"])
    assert isinstance(data.train, MixedRows)
    assert (data.train.names, data.train.weights) == (("a", "b"), (2, 1))
    assert [dev.prefix for dev in data.dev_sets] == ["dev/", "dev/other/"]
    hashes = data.fingerprints(token_roles(byte_tokenizer))
    assert {"training text", "development text", "development text other", "tokenizer"} == hashes.keys()
    assert len({*hashes.values()}) == 4


def test_development_texts_end_at_their_limits_and_a_training_texts_part_for_development_has_none(
    folder: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    roles = token_roles(byte_tokenizer)
    whole = build(folder, byte_tokenizer, train=["a.txt"], dev=["dev.txt", "b.txt"])
    data = build(folder, byte_tokenizer, train=["a.txt"], dev=["dev.txt:limit=2", "b.txt:limit_tokens=15"])
    assert [dev.store.num_documents for dev in data.dev_sets] == [2, 3]
    assert [len(dev.rows) for dev in data.dev_sets] < [len(dev.rows) for dev in whole.dev_sets]
    changed = data.fingerprints(roles).items() - whole.fingerprints(roles).items()
    assert {name for name, _ in changed} == {"development text", "development text b"}
    assert data.describe_selection(DataArgs()).keys() == {"+ dev", "+ dev/b"}
    assert not whole.describe_selection(DataArgs())

    split = DataArgs(str(folder), train=["a.txt:limit=2"], dev_split="20%")
    limits = [find_split(split, name).corpus.limits for name in ("train", "dev", "a")]
    assert limits == [":limit=2", "", ""]


def test_an_objective_studies_the_fields_of_all_texts(folder: Path, byte_tokenizer: PreTrainedTokenizerFast) -> None:
    columns = Columns(fields=("label",))
    data = build(folder, byte_tokenizer, columns, train=["a.jsonl", "b.jsonl"], dev=["dev.jsonl"])
    assert data.train_store.distinct("label") == ["a0", "a1", "b0", "b1"]
    assert [data.train_store.field("label", number) for number in (0, 4, 5)] == ["a0", "a0", "b0"]
    (folder / "b.jsonl").write_text('{"text": "b", "label": 1}\n')
    with pytest.raises(UserError, match=r'b\.jsonl: key "label": a number, where .*a\.jsonl has a text'):
        build(folder, byte_tokenizer, columns, train=["a.jsonl", "b.jsonl"], dev=["dev.jsonl"])


@pytest.mark.parametrize(
    ("split", "found"), [("dev", "dev.txt"), ("other", "b.txt"), ("a", "a.txt"), ("b", "b.txt"), ("train", None)]
)
def test_an_evaluation_finds_each_text_by_its_name(folder: Path, split: str, found: str | None) -> None:
    args = DataArgs(str(folder), train=["a.txt:2", "b=a.txt:1"] if split == "a" else ["a.txt", "b.txt"])
    args = replace(args, dev=["dev.txt", "other=b.txt"])
    if found is None:
        with pytest.raises(UserError, match="--split train: there are several"):
            find_split(args, split)
    else:
        assert find_split(args, split).file == folder / found


def test_a_missing_text_of_several_is_told_with_its_flag(folder: Path) -> None:
    with pytest.raises(UserError, match=r"it has no c\.txt; name it with --train"):
        find_text(DataArgs(str(folder), train=["a.txt", "c.txt"]))
    with pytest.raises(UserError, match=r"it has no c\.txt; name it with --dev"):
        find_text(DataArgs(str(folder), train=["a.txt"], dev=["c.txt"]))


def test_rows_keep_the_numbers_of_their_text(folder: Path, byte_tokenizer: PreTrainedTokenizerFast) -> None:
    data = build(folder, byte_tokenizer, train=["a.txt", "b.txt"])
    assert isinstance(data.train, MixedRows)
    first = len(data.train.parts[0])
    assert np.array_equal(data.train.sample(first).ids, data.train.parts[1].sample(0).ids)
