"""Compressed files are read as the text in them, whatever their size and name, and a damaged one is told."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from dlib.args import DataArgs
from dlib.data import lines
from dlib.data.compression import format_suffix, open_text
from dlib.data.documents import settle_division
from dlib.data.finding import find_text
from dlib.data.lines import document_ranges
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.text import iterate_documents
from dlib.data.token_store import TokenStore
from dlib.process import packages
from dlib.process.errors import UserError

COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
LABELLED = Columns(fields=("label",))
RECORDS = b"".join(json.dumps({"text": f"é {n}\nb", "label": n}).encode() + b"\n" for n in range(3))
CONTENTS = {
    ".jsonl": RECORDS,
    ".json": b"[" + RECORDS.strip().replace(b"\n", b",\n") + b"]",
    ".csv": 'label,text\n0,"é 0\nb"\n1,"é 1\nb"\n2,"é 2\nb"'.encode(),
    ".tsv": "\ufefflabel\ttext\n0\té 0 b\n1\té 1 b\n2\té 2 b\n".encode(),
}
Build = Callable[..., TokenStore]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", CONTENTS)
def test_each_format_is_read_compressed_as_it_is(build: Build, tmp_path: Path, suffix: str, compression: str) -> None:
    plain, packed = tmp_path / f"a{suffix}", tmp_path / f"a{suffix}{compression}"
    plain.write_bytes(CONTENTS[suffix])
    packed.write_bytes(COMPRESS[compression](CONTENTS[suffix]))
    one, other = build(plain, LABELLED), build(packed, LABELLED)
    assert one.fingerprint != other.fingerprint
    assert np.array_equal(one.tokens, other.tokens)
    assert np.array_equal(one.offsets, other.offsets)
    assert [other.field("label", number) for number in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("end", ["", "\n", "x" * 70, " x" * 40])
def test_plain_text_is_that_of_the_uncompressed_file(
    build: Build, tmp_path: Path, compression: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", 64)
    content = ("\ufeffthe quick\r\n\n" + "fox " * 100 + "\nend" + end).encode()
    plain, packed = tmp_path / "a.txt", tmp_path / f"a.txt{compression}"
    plain.write_bytes(content)
    packed.write_bytes(COMPRESS[compression](content))
    for document in ("line", "blank_line", "file"):
        one, other = build(plain, document=document), build(packed, document=document)
        assert np.array_equal(one.tokens, other.tokens)
        assert np.array_equal(one.offsets, other.offsets)
    assert list(iterate_documents(packed)) == list(iterate_documents(plain))


@pytest.mark.usefixtures("small_ranges")
def test_many_processes_share_files_and_leave_a_compressed_one_whole(
    build: Build, tmp_path: Path, long_text: Path
) -> None:
    (tmp_path / "shards").mkdir()
    half = long_text.read_bytes().split(b"\n")
    for number in range(2):
        shard = b"\n".join(half[number * 500 : (number + 1) * 500])
        (tmp_path / "shards" / f"{number}.txt.gz").write_bytes(gzip.compress(shard))
    packed = tmp_path / "shards" / "0.txt.gz"
    assert [(found.start, found.stop) for found in document_ranges(packed)] == [(0, packed.stat().st_size)]
    assert np.array_equal(build(tmp_path / "shards", processes=2).tokens, build(long_text, processes=2).tokens)


@pytest.mark.parametrize("compression", COMPRESS)
def test_files_of_several_parts_are_one_text(tmp_path: Path, compression: str) -> None:
    file = tmp_path / "a.txt"  # whose name does not say it
    file.write_bytes(COMPRESS[compression](b"one\nt") + COMPRESS[compression](b"") + COMPRESS[compression](b"wo\n"))
    assert list(iterate_documents(file)) == ["one", "two"]


def test_padding_behind_gzip_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(b"one\n") + b"\0" * 50_000)
    assert list(iterate_documents(file)) == ["one"]


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_mistake_has_the_line_of_the_text(build: Build, tmp_path: Path, compression: str) -> None:
    file = tmp_path / f"a.jsonl{compression}"
    file.write_bytes(COMPRESS[compression](RECORDS * 100 + b'{"text": "a"}\n'))
    with pytest.raises(UserError, match=rf'a\.jsonl\{compression} line 301: no key "label"'):
        build(file, LABELLED)


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("cut", [12, 1000])
def test_a_file_that_breaks_off_is_told(tmp_path: Path, compression: str, cut: int) -> None:
    content = b"".join(b"%d line\n" % number for number in np.random.default_rng(1).integers(0, 1 << 60, 5000))
    file = tmp_path / f"train.txt{compression}"
    file.write_bytes(COMPRESS[compression](content)[:-cut])
    with pytest.raises(UserError, match=rf"train\.txt\{compression} line \d+: here the compressed file breaks off"):
        list(iterate_documents(file))


@pytest.mark.parametrize("compression", COMPRESS)
def test_a_damaged_file_is_told_where_it_is_found(tmp_path: Path, compression: str) -> None:
    content = bytearray(COMPRESS[compression](np.random.default_rng(1).bytes(1000).hex().encode()))
    content[20:30] = b"\xff" * 10
    for name in ("train", "dev"):
        (tmp_path / f"{name}.txt{compression}").write_bytes(content)
    with pytest.raises(UserError, match=r"train\.txt\.\w+ line 1: the compressed file is damaged"):
        find_text(DataArgs(str(tmp_path)))


def test_zstandard_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt.zst"
    file.write_bytes(zstandard.compress(b"one\n"))

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(packages.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"a\.txt\.zst needs the package zstandard: pip install zstandard"):
        list(iterate_documents(file))


def test_compressed_files_are_found_and_looked_at(tmp_path: Path) -> None:
    stanza = "a short line,\nand another\n\n" * 40
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(stanza.encode()))
    (tmp_path / "val.jsonl.zst").write_bytes(zstandard.compress(RECORDS))
    found = find_text(DataArgs(str(tmp_path)))
    assert (found.train.name, found.dev.name) == ("train.txt.gz", "val.jsonl.zst")
    assert settle_division(DataArgs(), [found.train], TEXT_ONLY).document == "blank_line"
    files = (found.train, found.dev, Path("a.b.csv"), Path("gz"))
    assert [*map(format_suffix, files)] == [".txt", ".jsonl", ".csv", ""]
    (tmp_path / "train.txt").write_text("one\n")
    assert find_text(DataArgs(str(tmp_path))).train.name == "train.txt"


@pytest.mark.parametrize("compression", COMPRESS)
def test_reading_needs_memory_for_a_piece_only(tmp_path: Path, compression: str) -> None:
    file = tmp_path / f"a.txt{compression}"
    words = np.random.default_rng(1).bytes(1 << 20).hex(" ").encode()
    file.write_bytes(COMPRESS[compression](words * 4))
    tracemalloc.start()
    assert sum(map(len, iterate_documents(file))) == 4 * len(words)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_text_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(b"one\ntwo\n"))
    with open_text(file) as opened:
        assert opened.readline() == b"one\n"
    assert opened.closed
