"""Many files are one text, whatever they are named by, and what a killed build had is not made again."""

import gzip
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from dlib.args import DataArgs
from dlib.data import shards as shards_module
from dlib.data.documents import settle_division
from dlib.data.finding import find_split
from dlib.data.parts import find_part, finish, take_over
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.shards import iterate_slices, shards_of
from dlib.data.text import iterate_documents
from dlib.data.token_store import TokenStore, build_token_store
from dlib.process.errors import UserError
from tests.data.conftest import SENTENCES
from tests.data.test_token_store import contents, start_build, wait_for

Build = Callable[..., TokenStore]


@pytest.fixture
def build(byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Build:
    """Builds the store of a text."""

    def run(text: Path, **options: Any) -> TokenStore:
        cache = options.pop("cache_dir", tmp_path / "cache")
        return build_token_store(text, byte_tokenizer, separator_id=1, cache_dir=cache, **options)

    return run


def write_shards(folder: Path, contents_by_name: dict[str, str]) -> Path:
    """Writes files into a new folder."""
    folder.mkdir()
    for name, content in contents_by_name.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def same_content(one: TokenStore, other: TokenStore) -> bool:
    """Whether two stores hold the same tokens and documents."""
    return np.array_equal(one.tokens, other.tokens) and np.array_equal(one.offsets, other.offsets)


def test_a_folder_and_a_glob_are_the_joined_text_in_the_order_of_names(build: Build, tmp_path: Path) -> None:
    folder = write_shards(
        tmp_path / "shards", {"b.txt": "three\n", "a.txt": "one\ntwo\n", "c.txt": "\nfour", ".d.txt": "x"}
    )
    joined = tmp_path / "joined.txt"
    joined.write_text("one\ntwo\nthree\n\nfour")
    store = build(folder)
    assert same_content(store, build(joined))
    assert build(folder / "*.txt").fingerprint == store.fingerprint
    assert [*iterate_documents(folder)] == ["one", "two", "three", "", "four"]
    capitals = write_shards(tmp_path / "capitals", {"A.JSONL": '{"text": "one"}', "b.jsonl": '{"text": "two"}'})
    assert [*iterate_documents(capitals)] == ["one", "two"]
    alone = write_shards(tmp_path / "alone", {"a.txt": joined.read_text()})
    assert build(alone).fingerprint == build(joined).fingerprint


def test_the_name_of_a_store_depends_on_the_bytes_and_the_order_of_all_shards(build: Build, tmp_path: Path) -> None:
    texts = (
        {"a.txt": "one\n", "b.txt": "two\n"},
        {"a.txt": "two\n", "b.txt": "one\n"},
        {"a.txt": "one\n", "b.txt": "2\n"},
    )
    folders = [write_shards(tmp_path / str(number), files) for number, files in enumerate(texts)]
    assert len({build(folder).fingerprint for folder in folders}) == 3


@pytest.mark.parametrize("processes", [1, 2])
def test_many_small_files_make_few_parts_and_a_document_each(
    build: Build, tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlib.data.tokenizing_processes.SMALL_TEXT_BYTES", 0)
    folder = write_shards(
        tmp_path / "code", {f"{number:03d}.txt": f"def f():\n    pass\n\n# {number}\n" for number in range(300)}
    )
    assert sum(1 for _ in iterate_slices([*map(str, shards_of(folder))])) == 1
    store = build(folder, document="file", processes=processes)
    assert store.num_documents == 300


def test_a_large_text_has_a_bounded_number_of_parts(big_text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "RANGE_BYTES", 100)
    monkeypatch.setattr(shards_module, "MOST_PARTS", 10)
    parts = [*iterate_slices([str(big_text)])]
    assert len(parts) <= 10
    assert sum(stop - start for part in parts for _, (start, stop) in ((f, (r.start, r.stop)) for f, r in part)) == (
        big_text.stat().st_size
    )


def test_a_mistake_in_a_shard_is_told_with_its_file_and_line(build: Build, tmp_path: Path) -> None:
    folder = write_shards(
        tmp_path / "shards", {"a.jsonl": '{"text": "one"}\n' * 3, "b.jsonl": '{"text": "one"}\n{"text": 1}\n'}
    )
    with pytest.raises(UserError, match=r'b\.jsonl line 2: key "text": 1 is no text'):
        build(folder)
    (folder / "c.txt").write_text("c")
    with pytest.raises(UserError, match=r"b\.jsonl and c\.txt are files of several formats: name those of one"):
        build(folder)


def test_shards_are_found_in_the_data_folder(tmp_path: Path) -> None:
    write_shards(tmp_path / "train", {"a.txt": PLAY, "b.txt": PLAY})
    (tmp_path / "dev.txt").write_text("dev\n")
    args = DataArgs(str(tmp_path))
    assert find_split(args, "train").file == tmp_path / "train"
    assert settle_division(args, [tmp_path / "train"], TEXT_ONLY).document == "blank_line"
    assert find_split(DataArgs(str(tmp_path), train_file="tr*/*.txt"), "train").file == tmp_path / "tr*/*.txt"
    assert find_split(DataArgs("none", dev_file="hf:a/b:test"), "dev").file == Path("hf:a/b:test")
    with pytest.raises(UserError, match=r"it has no \*\.nope; name the training text"):
        find_split(DataArgs(str(tmp_path), train_file="*.nope"), "train")


@pytest.mark.parametrize(
    ("files", "options", "advice"),
    [
        (["train/pos/1.txt", "train/neg/1.txt"], {}, "(neg, pos): write --train_file 'train/*/*.txt' --document file"),
        (["train/a/1.jsonl.gz"], {"train_file": "train"}, "(a): write --train_file 'train/*/*.jsonl.gz'"),
        (["train.en", "train.de"], {}, "for train.de and train.en write --source_suffix de --target_suffix en, or"),
        (["train.de.gz", "train.zh_CN.gz", "train.bak.txt"], {}, "--source_suffix de --target_suffix zh_CN"),
        (["train.log", "train/readme.md"], {}, "name the training text with --train_file"),
    ],
)
def test_a_text_that_lies_there_in_another_layout_is_told_with_what_to_write(
    tmp_path: Path, files: list[str], options: dict[str, Any], advice: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("text\n")
    with pytest.raises(UserError) as error:
        find_split(DataArgs(str(tmp_path), **options), "train")
    assert advice in str(error.value)
    assert ("--document" in str(error.value)) == ("--document" in advice)


PLAY = "First:\nSpeak, speak.\n\n" * 40


def test_parquet_and_saved_datasets_are_read_by_column(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_module, "RANGE_BYTES", 50_000)
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    datasets = pytest.importorskip("datasets")
    texts = [f"{sentence} {number}" for number in range(3000) for sentence in SENTENCES]
    records = {"label": [*range(len(texts))], "text": texts, "unread": [0] * len(texts)}
    lines = tmp_path / "a.jsonl"
    rows = zip(records["label"], texts, strict=True)
    lines.write_text("".join(json.dumps({"label": label, "text": text}) + "\n" for label, text in rows))
    parquet.write_table(arrow.table(records), tmp_path / "a.parquet", row_group_size=2000, compression="none")
    assert len([*iterate_slices([str(tmp_path / "a.parquet")])]) > 4
    datasets.Dataset.from_dict(records).save_to_disk(tmp_path / "saved", num_shards=3)
    columns = Columns(fields=("label",))
    stores = [build(tmp_path / name, columns=columns, processes=1) for name in ("a.jsonl", "a.parquet", "saved")]
    assert len(shards_of(tmp_path / "saved")) == 3
    for store in stores[1:]:
        assert same_content(store, stores[0])
        assert [store.field("label", place) for place in (0, 2001, 8999)] == [0, 2001, 8999]
    with pytest.raises(UserError, match=r'a\.parquet row 1: no key "nope"; there are: "label", "text", "unread"'):
        build(tmp_path / "a.parquet", columns=Columns(("nope",)))
    (tmp_path / "bad.parquet").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"bad\.parquet: no Parquet file, or a damaged one"):
        build(tmp_path / "bad.parquet")
    torn = tmp_path / "torn.parquet"
    parquet.write_table(arrow.table({"text": [*map(str, range(4000))]}), torn, compression="snappy")
    content = torn.read_bytes()
    torn.write_bytes(content[:100] + bytes(900) + content[1000:])
    with pytest.raises(UserError, match=r"torn\.parquet: no Parquet file, or a damaged one \(Corrupt snappy"):
        build(torn)


def test_a_dataset_that_cannot_be_had_is_one_line(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"^hf:nobody/nothing:train: the dataset cannot be loaded: [^\n]*$"):
        build(Path("hf:nobody/nothing:train"))
    with pytest.raises(UserError, match=r"hf:a b: write hf:NAME:SPLIT"):
        build(Path("hf:a b"))


def test_a_killed_build_goes_on_from_the_parts_that_it_had(
    build: Build, byte_tokenizer: PreTrainedTokenizerFast, big_text: Path, tmp_path: Path
) -> None:
    undisturbed = contents(build(big_text, cache_dir=tmp_path / "other").folder)
    cache = tmp_path / "cache"
    process = start_build(big_text, byte_tokenizer, cache)
    wait_for(lambda cache: len([*cache.glob(".*building*/part-00000[01].json")]) == 2, cache, process)
    process.kill()
    process.join()
    (record,) = cache.glob(".*building*/part-000001.json")
    sizes = [record.with_name(f"part-00000{number}.tokens").stat().st_size for number in (0, 1)]
    strange = b"\7" * sizes[1]  # what is taken over is not made again, and so not put right
    record.with_suffix(".tokens").write_bytes(strange)

    found = contents(build(big_text).folder)
    tokens = undisturbed["tokens.bin"]
    assert found["tokens.bin"] == tokens[: sizes[0]] + strange + tokens[sum(sizes) :]
    assert found["offsets.bin"] == undisturbed["offsets.bin"]
    assert not [*cache.glob(".*building*")]


def test_a_part_that_is_not_whole_or_of_other_ranges_is_made_again(tmp_path: Path, big_text: Path) -> None:
    slices, *_ = iterate_slices([str(big_text)])
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    tokens = old / "part-000000.tokens"
    tokens.write_bytes(b"1234")
    assert find_part(old, 0, slices) is None
    made = finish(old / "part-000000", [tokens], slices, 3)
    assert find_part(old, 0, slices) == made._replace(is_new=False)
    assert find_part(old, 0, [*slices, *slices]) is None
    shutil.copyfile(old / "part-000000.json", old / "part-000001.json")  # as a record without its files
    take_over(old, new)
    assert find_part(new, 0, slices) == made._replace(is_new=False)
    (new / tokens.name).write_bytes(b"12")
    assert find_part(new, 0, slices) is None


def test_parts_stay_where_a_tokenizing_process_was_killed(
    build: Build, big_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlib.data.tokenizing_processes.WORKER", [sys.executable, "-c", KILLED_AFTER_A_PART])
    with pytest.raises(UserError, match=r"killed by signal 9.*what is tokenized stays"):
        build(big_text, processes=2)
    assert [*(tmp_path / "cache").glob(".*building*/part-000000.json")]


KILLED_AFTER_A_PART = """
import os, signal
from dlib.data import parts, tokenizing, tokenizing_processes
finish = parts.finish
def kill(*words):
    finish(*words)
    os.kill(os.getpid(), signal.SIGKILL)
tokenizing.finish = kill
tokenizing_processes.serve()
"""


def test_compressed_shards_are_the_joined_text_and_each_format_is_found(build: Build, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name, content in (("a.txt.gz", "one\ntwo\n"), ("b.txt", "three\n")):
        text = content.encode()
        (tmp_path / "train" / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    joined = tmp_path / "joined.txt"
    joined.write_text("one\ntwo\nthree\n")
    assert same_content(build(tmp_path / "train"), build(joined))
    args = DataArgs(str(tmp_path))
    for name in (
        "train",
        "train.arrow",
        "train.parquet",
        "train.jsonl.gz",
        "train.jsonl",
        "train.txt",
    ):  # the last first
        if name != "train":
            (tmp_path / name).write_bytes(b"something")
        assert find_split(args, "train").file.name == name
