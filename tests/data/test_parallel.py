"""Two files whose lines belong together are one text, found by their suffixes, whole or refused."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from dlib.args import DataArgs
from dlib.data.finding import find_split, find_text
from dlib.data.samples import Columns
from dlib.data.text import iterate_documents
from dlib.data.token_store import TokenStore
from dlib.process.errors import UserError

PAIRS = Columns(("source", "target"), ("target",))
GERMAN = ["Ein Hund rennt über Gras .", "", "Zwei ."]
ENGLISH = ["A dog runs .", "Empty on the other side .", "Two ."]

Write = Callable[..., Path]
Build = Callable[..., TokenStore]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes both files of a name, and returns what stands for them."""

    def write_pair(name: str = "train", german: list[str] = GERMAN, english: list[str] = ENGLISH) -> Path:
        for suffix, lines in (("de", german), ("en", english)):
            (tmp_path / f"{name}.{suffix}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return tmp_path / f"{name}.{{de,en}}"

    return write_pair


@pytest.fixture
def build(build: Build) -> Build:
    """Builds the store of a pair of files."""
    return lambda file, columns=PAIRS, **options: build(file, columns, **options)


def arguments(folder: Path, **options: object) -> DataArgs:
    return DataArgs(str(folder), source_suffix="de", target_suffix="en", **options)  # type: ignore[arg-type]


def decoded(store: TokenStore, sequence: int, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [str(tokenizer.decode(store.segment(n, sequence).tolist())) for n in range(store.num_documents)]


def test_lines_of_both_files_are_a_document(
    write: Write, build: Build, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    store = build(write())
    assert [decoded(store, sequence, byte_tokenizer) for sequence in (0, 1)] == [GERMAN, ENGLISH]
    assert [store.field("target", number) for number in range(3)] == ENGLISH


def test_both_files_are_found_and_make_the_store(write: Write, build: Build, tmp_path: Path) -> None:
    write()
    write("val")
    write("test")
    files = find_text(arguments(tmp_path))
    assert (files.train, files.dev) == (tmp_path / "train.{de,en}", tmp_path / "val.{de,en}")
    assert find_split(arguments(tmp_path), "test").file == tmp_path / "test.{de,en}"
    assert find_split(arguments(tmp_path, train_file="test"), "train").file == tmp_path / "test.{de,en}"
    named = DataArgs(str(tmp_path), train=["a=test.{de,en}:2", "train.{de,en}:1"], dev=["val.{de,en}"])
    assert find_text(named).train == tmp_path / "test.{de,en}"
    first = build(files.train)
    for german, english in ((GERMAN, [*ENGLISH[:2], "2 ."]), ([*GERMAN[:2], "2 ."], ENGLISH)):
        assert build(write("train", german, english)).fingerprint != first.fingerprint
    assert build(write()).fingerprint == first.fingerprint
    assert build(Path(str(files.train).replace("de,en", "en,de"))).fingerprint != first.fingerprint


def test_a_tokenizer_is_trained_on_both(write: Write) -> None:
    assert list(iterate_documents(write(), "strict", PAIRS))[:2] == [GERMAN[0], ENGLISH[0]]


def test_compressed_files_are_pairs_too(write: Write, build: Build, tmp_path: Path) -> None:
    plain = build(write())
    for name in ("train", "dev"):
        for suffix, lines in (("de", GERMAN), ("en", ENGLISH)):
            content = "".join(f"{line}\n" for line in lines).encode()
            (tmp_path / f"{name}.{suffix}.gz").write_bytes(gzip.compress(content))
            (tmp_path / f"{name}.{suffix}").unlink(missing_ok=True)
    files = find_text(arguments(tmp_path))
    assert files.train.name == "train.{de,en}.gz"
    assert build(files.train).tokens.tolist() == plain.tokens.tolist()


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("processes", [1, 3])
def test_large_files_stay_together(write: Write, build: Build, processes: int) -> None:
    german = ["der schnelle Fuchs " * (number % 9) for number in range(1500)]
    english = [f"{number} the quick" for number in range(1500)]
    store = build(write("train", german, english), processes=processes)
    assert store.num_documents == 1500
    for number in (0, 811, 1499):
        assert store.field("target", number) == english[number]


@pytest.mark.parametrize(("german", "english", "counts"), [(3, 2, ("3", "2")), (1, 1500, ("1", "1,500")), (2, 0, "20")])
def test_files_of_different_numbers_of_lines_are_refused(
    write: Write, build: Build, german: int, english: int, counts: tuple[str, str], tmp_path: Path
) -> None:
    file = write("train", ["a"] * german, ["b"] * english)
    told = rf"train\.de has {counts[0]} lines and .*train\.en {counts[1]}: line for line"
    with pytest.raises(UserError, match=told):
        build(file)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir() and path.name != ".text_sha256"]


def test_mistakes_are_one_line(write: Write, build: Build, tmp_path: Path) -> None:
    file = write()
    with pytest.raises(UserError, match=r'train\.\{de,en\} line 1: no key "text"; there are: "source", "target"'):
        build(file, Columns())
    (tmp_path / "train.en").write_bytes(b"a\nb\n\xff\n")
    with pytest.raises(UserError, match=r"train\.en line 3: bytes that are not UTF-8"):
        build(file)
    (tmp_path / "train.de").write_bytes(b"a\n\xff\nc\n")
    with pytest.raises(UserError, match=r"train\.\{de,en\} line 2: bytes that are not UTF-8"):
        build(file)
    (tmp_path / "train.en").unlink()
    with pytest.raises(UserError, match=r"it has no train \(\.\{de,en\}\); name the training text with --train_file"):
        find_text(arguments(tmp_path))
    one_given = {
        "target": DataArgs(str(tmp_path), source_suffix="de"),
        "source": DataArgs(str(tmp_path), target_suffix="de"),
    }
    for missing, args in one_given.items():
        with pytest.raises(UserError, match=rf"--{missing}_suffix: give it too"):
            find_text(args)
