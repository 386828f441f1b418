"""A document is left out, or is of the development text, by what it says, whatever stands around it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dlib.args import DataArgs, ExperimentArgs
from dlib.config.configuration import parse_args
from dlib.data.filtering import PLACES, DocumentFilter, DocumentSieve, digest_of, place_of
from dlib.data.finding import find_text
from dlib.data.records import Document, Text
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.splitting import places_around, settle_dev_split, share_between
from dlib.data.text_data import TextData, build_text_data
from dlib.data.token_roles import token_roles
from dlib.data.token_store import TokenStore
from dlib.process.errors import UserError
from dlib.runs.continuity import with_recorded_defaults

LINES = [f"{word} {number}" for number in range(60) for word in ("one", "other")]


@pytest.fixture
def build(tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast) -> Callable[..., TextData]:
    """Tokenizes the texts of a folder as a run does."""

    def make(columns: Columns = TEXT_ONLY, **options: object) -> TextData:
        args = DataArgs(str(tmp_path), document="line", max_length=16, cache_dir=str(tmp_path / "cache"))
        args = replace(args, **{"tokenizer_processes": 2, **options})  # type: ignore[arg-type]
        files = find_text(args)
        settled = settle_dev_split(args, files, columns)
        return build_text_data(settled, files, byte_tokenizer, token_roles(byte_tokenizer), columns=columns)

    return make


def write(folder: Path, name: str, lines: Sequence[str]) -> None:
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def lines_of(store: TokenStore, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [str(tokenizer.decode(store.segment(number))) for number in range(store.num_documents)]


def test_both_sides_together_are_the_text_in_its_order(
    tmp_path: Path, build: Callable[..., TextData], byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    write(tmp_path, "train.txt", LINES)
    data = build(dev_split="20%")
    train, dev = (lines_of(store, byte_tokenizer) for store in (data.train_store, data.dev_store))
    assert sorted(train + dev) == sorted(LINES)
    assert train == [line for line in LINES if line in {*train}]
    assert 10 < len(dev) < 40


def test_a_document_keeps_its_side_when_the_text_grows_and_so_do_its_copies(
    tmp_path: Path, build: Callable[..., TextData], byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    write(tmp_path, "train.txt", LINES)
    dev = {*lines_of(build(dev_split="20%").dev_store, byte_tokenizer)}
    grown = [*LINES, *(f"new {number}" for number in range(50)), *(f"  {line}\t" for line in LINES)]
    random.Random(1).shuffle(grown)
    write(tmp_path, "train.txt", grown)
    data = build(dev_split="20%")
    then = [line.strip() for line in lines_of(data.dev_store, byte_tokenizer)]
    assert {line for line in then if not line.startswith("new")} == dev
    assert all(then.count(line) == 2 for line in dev)
    assert not dev & {line.strip() for line in lines_of(data.train_store, byte_tokenizer)}


def test_a_number_of_documents_is_exact_and_a_smaller_one_is_a_part_of_it(
    tmp_path: Path, build: Callable[..., TextData], byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    write(tmp_path, "train.txt", ["", *LINES, ""])
    found = {count: lines_of(build(dev_split=str(count)).dev_store, byte_tokenizer) for count in (1, 7, 30, 119)}
    assert [len(lines) for lines in found.values()] == [*found]
    assert {*found[1]} < {*found[7]} < {*found[30]} < {*found[119]}
    with pytest.raises(UserError, match="--dev_split 120: the training text has only 120 documents"):
        build(dev_split="120")


@given(st.lists(st.integers(0, PLACES - 1), min_size=2, max_size=40), st.data())
def test_the_share_takes_as_many_documents_as_were_asked_for(places: list[int], data: st.DataObject) -> None:
    different = len({*places})
    count = data.draw(st.integers(1, len(places)))
    ordered = sorted(places)
    digests = iter([f"{place:016x}" for place in places])
    if ordered[count - 1] == ordered[-1]:
        with pytest.raises(UserError, match="only"):
            places_around(digests, count)
        return
    share = share_between(*places_around(digests, count))
    taken = sum(place < int(share * PLACES) for place in places)
    assert taken >= count
    assert taken == count or different < len(places)


def test_a_run_keeps_the_share_and_refuses_another_number() -> None:
    def args(dev_split: str) -> ExperimentArgs:
        return ExperimentArgs(data=DataArgs(dev_split=dev_split))

    recorded = args("2000 = 1.37%")
    assert with_recorded_defaults(args("2000"), recorded) == recorded
    for other in ("200", "1.37%", "2001"):
        assert with_recorded_defaults(args(other), recorded) == args(other)


def test_what_stands_in_a_test_set_is_left_out_of_both_sides_and_counted(
    tmp_path: Path, build: Callable[..., TextData], byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    write(tmp_path, "train.txt", [*LINES, *LINES[:5]])
    write(tmp_path, "test.txt", [f" {line} " for line in LINES[:10]])
    write(tmp_path, "more.jsonl", [f'{{"text": "{line}", "label": 1}}' for line in LINES[10:12]])
    data = build(dev_split="30", exclude=["test.txt", "more.jsonl"])
    stores = (data.train_store, data.dev_store)
    assert sorted(line for store in stores for line in lines_of(store, byte_tokenizer)) == sorted(LINES[12:])
    assert [store.num_excluded for store in stores] == [17, 17]
    assert data.dev_store.num_documents == 30
    write(tmp_path, "dev.txt", LINES)
    data = build(exclude=["test.txt"])
    assert data.train_store.num_documents == len(LINES) - 10
    assert data.dev_store.num_documents == len(LINES), "a development text of one's own stays as it is"
    with pytest.raises(UserError, match="leave no document"):
        build(exclude=["train.txt"])


def test_the_hashes_of_a_run_tell_what_was_left_out(tmp_path: Path, build: Callable[..., TextData]) -> None:
    write(tmp_path, "train.txt", LINES)
    write(tmp_path, "dev.txt", LINES[:3])
    plain, less = build(), build(exclude=["dev.txt"])
    assert "kept" not in plain.train_store.recipe.content
    assert plain.train_store.recipe.documents_sha256 == plain.train_store.recipe.text_sha256
    hashes = {
        build(dev_split=share).train_store.recipe.documents_sha256 for share in ("10%", "10.1%", "30 = 10.1%", "20%")
    }
    assert len({*hashes, plain.train_store.recipe.documents_sha256, less.train_store.recipe.documents_sha256}) == 5


def test_fields_stay_with_their_documents(tmp_path: Path, build: Callable[..., TextData]) -> None:
    write(tmp_path, "train.jsonl", [f'{{"text": "{line}", "label": "{line}"}}' for line in LINES])
    columns = Columns(sequences=("text",), fields=("text", "label"))
    data = build(columns, dev_split="25")
    assert data.dev_store.num_documents == 25
    for store in (data.train_store, data.dev_store):
        for number in range(store.num_documents):
            assert store.field("text", number) == store.field("label", number)


@pytest.mark.usefixtures("small_ranges")
def test_many_ranges_in_several_processes_give_the_same_sides(
    long_text: Path, tmp_path: Path, build: Callable[..., TextData]
) -> None:
    (tmp_path / "train.txt").write_bytes(long_text.read_bytes())
    stores = [build(dev_split="5%", tokenizer_processes=1).train_store]
    stores[0].folder.rename(tmp_path / "kept")
    stores.append(build(dev_split="5%").train_store)
    assert (stores[0].num_documents, stores[0].num_tokens) == (stores[1].num_documents, stores[1].num_tokens)
    names = ("tokens.bin", "offsets.bin")
    assert all((tmp_path / "kept" / name).read_bytes() == (stores[1].folder / name).read_bytes() for name in names)


def test_a_document_in_pieces_is_one() -> None:
    pieces = [Document(0, ("a lo",), (), False), Document(4, ("ng one",), ())]
    digest = digest_of(pieces)
    assert digest == digest_of([Document(0, (" a long one\n",))])
    assert digest is not None
    for side in ("train", "dev"):
        is_dev = place_of(digest) < PLACES // 2
        kept = [*DocumentSieve(DocumentFilter("", side, PLACES // 2).content, Path()).keep([*pieces])]
        assert kept == (pieces if is_dev == (side == "dev") else [])


def test_documents_of_several_texts_differ_where_their_texts_do() -> None:
    documents: list[tuple[Text, ...]] = [("a", "b"), ("ab", ""), ("", "ab"), (("a", "b"), "c"), ("a",)]
    assert len({digest_of([Document(0, texts)]) for texts in documents}) == len(documents)
    assert digest_of([Document(0, (" ", ()))]) is None


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--dev_split 0", "is no part of the documents: write for example 2000"),
        ("--dev_split 100%", "is no part of the documents"),
        ("--dev_split 20001%x", "is no part of the documents"),
        ("--dev_split 0.0%", "is no part of the documents"),
        ("--dev_split 1% --dev a.txt", "--dev names a development text, too"),
        ("--dev_split 1% --dev_file a.txt", "--dev_file names a development text, too"),
    ],
)
def test_a_split_that_cannot_be_is_refused(flags: str, reason: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_args(["-n", "x", *flags.split()], description="")
    assert f"--dev_split: {reason}" in str(refused.value) or reason in str(refused.value)
