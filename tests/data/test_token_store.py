"""The token store holds the text exactly, is found by content, and is whole or absent whatever happens."""

import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dlib.data.token_store import MANIFEST, OFFSETS, TOKENS, TokenStore, build_token_store, open_token_store
from dlib.process.errors import UserError
from tests.exactness.ranks import fork, pid_of
from tests.launching import TIMEOUT_SECONDS

SEPARATOR_ID = 1


def build(text: Path, tokenizer: PreTrainedTokenizerBase, cache: Path, **options: object) -> TokenStore:
    """Build with the separator of the toy tokenizers."""
    return build_token_store(text, tokenizer, separator_id=SEPARATOR_ID, cache_dir=cache, **options)  # type: ignore[arg-type]


def documents(store: TokenStore, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text of each document, from its ids."""
    bounds = zip(store.offsets[:-1], store.offsets[1:], strict=True)
    assert all(store.tokens[stop - 1] == SEPARATOR_ID for stop in store.offsets[1:])
    return [str(tokenizer.decode(store.tokens[start : stop - 1].tolist())) for start, stop in bounds]


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a store."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(
    byte_tokenizer: PreTrainedTokenizerFast, big_text: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The files of the big text's store, built by one process."""
    return contents(build(big_text, byte_tokenizer, tmp_path_factory.mktemp("cache"), processes=1).folder)


def start_build(text: Path, tokenizer: PreTrainedTokenizerFast, cache: Path) -> BaseProcess:
    """A process of its own that builds, with two that tokenize."""
    tokenizer_file = cache.with_name("tokenizer.json")
    tokenizer.backend_tokenizer.save(str(tokenizer_file))
    return fork(build_there, text, tokenizer_file, cache)


def build_there(text: Path, tokenizer_file: Path, cache: Path) -> None:
    """Makes this process, forked for it, one that builds."""
    build(text, PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file)), cache, processes=2)


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "locked": lambda cache: any(cache.glob(".*.lock")),
    "begun": lambda cache: any(cache.glob(".*building*")),
    "a part written": lambda cache: any(cache.glob(".*building*/part-000001.tokens")),
    "joining": lambda cache: any(file.stat().st_size for file in cache.glob(f".*building*/{TOKENS}")),
    "manifest begun": lambda cache: any(cache.glob(f".*building*/{MANIFEST}")),
}


def wait_for(moment: Callable[[Path], bool], cache: Path, process: BaseProcess) -> None:
    """Wait for a moment of a build, or for its end where the moment was too short to be seen."""
    while process.exitcode is None:
        # A file may vanish while it is looked at.
        with suppress(FileNotFoundError):
            if moment(cache):
                return


def test_the_text_comes_back_from_the_ids(byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_bytes("\ufeffGröße 漢字 🙂\r\n\nNUL \x00 here\na lone\rreturn\r\n\r\n  blanks  \nno end".encode())
    store = build(text, byte_tokenizer, tmp_path / "cache")
    kept = ["Größe 漢字 🙂", "NUL \x00 here", "a lone\rreturn", "  blanks  ", "no end"]
    assert documents(store, byte_tokenizer) == kept
    assert store.num_documents == len(kept)
    assert store.num_tokens == len(store.tokens) == store.offsets[-1]
    assert store.num_bytes == sum(len(document.encode()) + 1 for document in kept)
    assert store.tokens.dtype == np.uint16
    assert store.offsets.dtype == np.int64


@pytest.mark.usefixtures("small_ranges")
def test_ids_are_those_of_the_tokenizer_without_special_tokens(
    word_tokenizer: PreTrainedTokenizerFast, long_text: Path, tmp_path: Path
) -> None:
    store = build(long_text, word_tokenizer, tmp_path / "cache", processes=2)
    assert store.tokens.dtype == np.uint8
    lines = long_text.read_text(encoding="utf-8").split("\n")
    expected = [ids for ids in word_tokenizer(lines, add_special_tokens=False)["input_ids"] if ids]
    assert store.num_documents == len(expected)
    flat = [token for ids in expected for token in [*ids, SEPARATOR_ID]]
    assert np.array_equal(store.tokens, flat)


def test_documents_without_tokens_are_left_out(word_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("the dog\n   \n\t\nthe fox\n")
    store = build(text, word_tokenizer, tmp_path / "cache")
    assert documents(store, word_tokenizer) == ["the dog", "the fox"]
    assert store.num_bytes == len("the dog\nthe fox\n")


@pytest.mark.parametrize("unit", ["many words in one line ", "nospaceatallé", "漢"])
def test_a_line_of_several_ranges_is_one_document(
    byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, unit: str, small_ranges: int
) -> None:
    line = (unit * (3 * small_ranges // len(unit.encode()))).strip()
    text = tmp_path / "a.txt"
    text.write_text(f"before\n{line}\nafter\n", encoding="utf-8")
    store = build(text, byte_tokenizer, tmp_path / "cache", processes=2)
    assert documents(store, byte_tokenizer) == ["before", line, "after"]


def test_cutting_a_long_line_at_spaces_does_not_change_its_ids(
    byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "words  and   blanks, of all sorts; " * 50
    text = tmp_path / "a.txt"
    text.write_text(line)
    monkeypatch.setattr("dlib.data.lines.PIECE_BYTES", 64)
    store = build(text, byte_tokenizer, tmp_path / "cache")
    assert store.tokens[:-1].tolist() == byte_tokenizer(line, add_special_tokens=False)["input_ids"]


def test_a_tokenizer_in_pure_python_works_too(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("héllo\n\nworld\n")
    store = build(text, ByT5Tokenizer(), tmp_path / "cache", processes=2)
    assert documents(store, ByT5Tokenizer()) == ["héllo", "world"]
    assert store.tokens.dtype == np.uint16


def test_the_number_of_processes_does_not_change_a_byte(
    byte_tokenizer: PreTrainedTokenizerFast, big_text: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    for number in (2, 3):
        store = build(big_text, byte_tokenizer, tmp_path / str(number), processes=number)
        assert contents(store.folder) == undisturbed


def test_the_same_content_is_found_and_any_other_is_built(
    byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    text, renamed, cache = tmp_path / "a.txt", tmp_path / "elsewhere" / "b.txt", tmp_path / "cache"
    text.write_text("one\ntwo\n")
    renamed.parent.mkdir()
    shutil.copyfile(text, renamed)
    first = build(text, byte_tokenizer, cache)
    assert build(renamed, byte_tokenizer, cache) == first
    shutil.copytree(cache, tmp_path / "moved")
    assert build(text, byte_tokenizer, tmp_path / "moved").fingerprint == first.fingerprint
    assert caplog.text.count("Tokenizing") == 1

    text.write_text("one\ntwO\n")
    others = [build(text, byte_tokenizer, cache), build(renamed, byte_tokenizer, cache, encoding_errors="replace")]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_an_open_store_pickles_as_its_folder(make_store: Callable[[str], TokenStore]) -> None:
    store = make_store("one two three\n" * 1000)
    assert store.tokens.size > 1000
    assert store.offsets.size == 1001
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    assert np.array_equal(pickle.loads(pickled).tokens, store.tokens)


def test_a_store_is_read_only(make_store: Callable[[str], TokenStore]) -> None:
    store = make_store("one\n")
    for array in (store.tokens, store.offsets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


@pytest.mark.parametrize("name", [TOKENS, OFFSETS, MANIFEST])
@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, 3), Path.unlink], ids=["cut", "missing"])
def test_a_damaged_store_is_built_again(
    make_store: Callable[[str], TokenStore], name: str, damage: Callable[[Path], None]
) -> None:
    store = make_store("one\ntwo\n")
    before = contents(store.folder)
    damage(store.folder / name)
    assert open_token_store(store.folder) is None
    assert make_store("one\ntwo\n") == store
    assert contents(store.folder) == before
    assert {path.name for path in store.folder.parent.iterdir() if path.is_dir()} <= {store.fingerprint, ".text_sha256"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_build_leaves_nothing_that_looks_finished(
    byte_tokenizer: PreTrainedTokenizerFast,
    big_text: Path,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    moment: str,
) -> None:
    cache = tmp_path / "cache"
    process = start_build(big_text, byte_tokenizer, cache)
    wait_for(MOMENTS[moment], cache, process)
    process.kill()
    process.join(TIMEOUT_SECONDS)
    finished = [folder for folder in cache.iterdir() if open_token_store(folder) and not folder.name.startswith(".")]
    assert not finished or moment == "manifest begun", "the kill came too late to show anything"

    store = build(big_text, byte_tokenizer, cache, processes=2)
    assert contents(store.folder) == undisturbed
    assert not list(cache.glob(".*building*"))


def test_dead_builds_of_other_texts_are_removed_and_live_ones_stay(
    byte_tokenizer: PreTrainedTokenizerFast, big_text: Path, make_store: Callable[[str], TokenStore], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    process = start_build(big_text, byte_tokenizer, cache)
    wait_for(MOMENTS["begun"], cache, process)
    os.kill(pid_of(process), signal.SIGSTOP)
    alive = [*cache.glob(".*building*")]
    make_store("one\n")
    assert all(folder.is_dir() for folder in alive)
    process.kill()
    process.join(TIMEOUT_SECONDS)
    make_store("two\n")
    assert not any(folder.exists() for folder in alive)


def build_with_others(name: str, text: Path, tokenizer_file: Path, cache: Path, all_ready: Barrier) -> None:
    """Makes this process, forked for it, one of several that build at the same moment; leaves a log and the bytes."""
    logging.basicConfig(level="INFO", filename=cache.with_name(f"{name}.log"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file))
    all_ready.wait(TIMEOUT_SECONDS)
    store = build(text, tokenizer, cache, processes=2)
    cache.with_name(f"{name}.pickle").write_bytes(pickle.dumps((store, contents(store.folder))))


def test_eight_processes_that_start_together_build_once_and_read_the_same(
    byte_tokenizer: PreTrainedTokenizerFast, big_text: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    tokenizer_file = tmp_path / "tokenizer.json"
    byte_tokenizer.backend_tokenizer.save(str(tokenizer_file))
    all_ready = multiprocessing.get_context("forkserver").Barrier(8)
    words = (big_text, tokenizer_file, tmp_path / "cache", all_ready)
    processes = [fork(build_with_others, str(number), *words) for number in range(8)]
    for process in processes:
        process.join(TIMEOUT_SECONDS)
    assert [process.exitcode for process in processes] == [0] * 8
    assert "".join(path.read_text() for path in tmp_path.glob("*.log")).count("Tokenizing") == 1
    seen = [pickle.loads(path.read_bytes()) for path in tmp_path.glob("*.pickle")]
    assert [content for _, content in seen] == [undisturbed] * 8
    assert len({store.fingerprint for store, _ in seen}) == 1


def test_ctrl_c_leaves_neither_files_nor_processes(
    byte_tokenizer: PreTrainedTokenizerFast, big_text: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    process = start_build(big_text, byte_tokenizer, cache)
    wait_for(MOMENTS["begun"], cache, process)
    time.sleep(0.1)
    os.kill(pid_of(process), signal.SIGINT)
    process.join(30)
    assert process.exitcode == 1
    assert not list(cache.glob(".*building*"))


@pytest.mark.usefixtures("small_ranges")
def test_bytes_that_are_not_utf8_name_file_line_and_flag(
    byte_tokenizer: PreTrainedTokenizerFast, long_text: Path, tmp_path: Path
) -> None:
    text = tmp_path / "bad.txt"
    lines = long_text.read_bytes().split(b"\n")
    for line in (750, 940):
        lines[line - 1] = b"bad \xff\xfe byte"
    text.write_bytes(b"\n".join(lines))
    with pytest.raises(UserError, match=r"bad\.txt line 750: .*--encoding_errors replace"):
        build(text, byte_tokenizer, tmp_path / "cache", processes=2)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    store = build(text, byte_tokenizer, tmp_path / "cache", processes=2, encoding_errors="replace")
    assert "bad \ufffd\ufffd byte" in documents(store, byte_tokenizer)


def test_a_missing_or_empty_text_is_named(byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    with pytest.raises(UserError, match=r"no text file .*a\.txt"):
        build(text, byte_tokenizer, tmp_path / "cache")
    for nothing in ("", "\n\r\n\n"):
        text.write_text(nothing)
        with pytest.raises(UserError, match=r"a\.txt holds no text"):
            build(text, byte_tokenizer, tmp_path / "cache")


def test_a_text_that_changes_meanwhile_is_refused(
    byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("one\n")

    def grow(cache: object) -> None:
        with text.open("a") as file:
            file.write("two\n")

    monkeypatch.setattr("dlib.data.token_store.remove_dead_builds", grow)
    with pytest.raises(UserError, match=r"a\.txt changed"):
        build(text, byte_tokenizer, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_names_the_flag(byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    text, cache = tmp_path / "a.txt", tmp_path / "cache"
    text.write_text("one\n")
    cache.write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"--cache_dir .*cache"):
        build(text, byte_tokenizer, cache)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_names_the_flag_and_leaves_nothing(
    byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, cache = tmp_path / "a.txt", tmp_path / "cache"
    text.write_text("one\n" * 10_000)
    mkdir = Path.mkdir

    def mkdir_on_full_disk(path: Path, *arguments: object, **options: object) -> None:
        mkdir(path, *arguments, **options)  # type: ignore[arg-type]
        if "building" in path.name:
            (path / TOKENS).symlink_to("/dev/full")

    monkeypatch.setattr(Path, "mkdir", mkdir_on_full_disk)
    with pytest.raises(UserError, match=r"--cache_dir .*No space left"):
        build(text, byte_tokenizer, cache)
    assert not [path for path in cache.iterdir() if path.is_dir()]
