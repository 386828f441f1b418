"""The fingerprint follows content, and a remembered hash is never that of another content."""

import copy
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from dlib.data import fingerprint
from dlib.data.fingerprint import Recipe, text_sha256, tokenizer_sha256
from dlib.process.errors import UserError


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written this moment count as settled."""
    monkeypatch.setattr(fingerprint, "SETTLED_NANOSECONDS", 0)
    time.sleep(0.01)


def test_each_part_of_the_recipe_changes_the_fingerprint() -> None:
    recipe = Recipe("a", "b", 1, "strict")
    others = [
        replace(recipe, text_sha256="c"),
        replace(recipe, tokenizer_sha256="c"),
        replace(recipe, separator_id=2),
        replace(recipe, encoding_errors="replace"),
        replace(recipe, store_format=0),
        replace(recipe, sequences=("text", "other")),
        replace(recipe, fields=("label",)),
        replace(recipe, reader_sha256="c"),
    ]
    assert len({recipe.fingerprint, *(other.fingerprint for other in others)}) == 9


def test_plain_text_keeps_the_fingerprint_that_it_had_before_there_were_fields() -> None:
    before = "afc8a7f7d7913e9dec00efbcf0bcbaa87185020a772d8b3f26e58ac8e8a4e16d"
    recipe = Recipe("a" * 64, "b" * 64, 1, "strict")
    assert recipe.fingerprint == before
    assert [*recipe.content] == ["text_sha256", "tokenizer_sha256", "separator_id", "encoding_errors", "store_format"]


@pytest.mark.usefixtures("settled")
def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, cache = tmp_path / "a.txt", tmp_path / "cache"
    file.write_text("one")
    time.sleep(0.01)
    first = text_sha256(file, cache)
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "_hash_text", lambda *_: pytest.fail("hashed again"))
        assert text_sha256(file, cache) == first
    times = file.stat()
    file.write_text("two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    time.sleep(0.01)
    assert text_sha256(file, cache) != first


def test_a_file_of_this_moment_is_not_remembered_yet(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    text_sha256(file, tmp_path / "cache")
    assert not list(tmp_path.glob("cache/**/*"))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", [b"", b"\xff\x00", b"0" * 64, b"0" * 64 + b" " + b"0" * 64])
def test_a_damaged_memory_is_ignored(tmp_path: Path, damage: bytes) -> None:
    file, cache = tmp_path / "a.txt", tmp_path / "cache"
    file.write_text("one")
    time.sleep(0.01)
    first = text_sha256(file, cache)
    (memory,) = (cache / ".text_sha256").iterdir()
    memory.write_bytes(damage)
    assert text_sha256(file, cache) == first


@pytest.mark.usefixtures("settled")
def test_a_cache_that_cannot_be_written_does_not_stop_the_hash(tmp_path: Path) -> None:
    file, cache = tmp_path / "a.txt", tmp_path / "cache"
    file.write_text("one")
    time.sleep(0.01)
    cache.write_text("a file where a folder should be")
    assert len(text_sha256(file, cache)) == 64


def test_truncation_and_padding_left_on_by_others_do_not_count(byte_tokenizer: PreTrainedTokenizerFast) -> None:
    before = tokenizer_sha256(byte_tokenizer)
    used = copy.deepcopy(byte_tokenizer)
    used(["a b c", "a"], truncation=True, max_length=2, padding=True)
    assert used.backend_tokenizer.truncation is not None
    assert tokenizer_sha256(used) == before


def test_a_tokenizer_that_was_saved_and_loaded_is_the_same(
    byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    byte_tokenizer.save_pretrained(tmp_path / "elsewhere")
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path / "elsewhere")
    assert tokenizer_sha256(loaded) == tokenizer_sha256(byte_tokenizer)


def test_an_added_token_makes_another_tokenizer(byte_tokenizer: PreTrainedTokenizerFast) -> None:
    grown = copy.deepcopy(byte_tokenizer)
    grown.add_tokens(["<new>"])
    splitting = copy.deepcopy(byte_tokenizer)
    splitting.backend_tokenizer.encode_special_tokens = True
    assert len({tokenizer_sha256(one) for one in (byte_tokenizer, grown, splitting)}) == 3


def test_a_tokenizer_in_pure_python_is_known_by_its_files() -> None:
    assert tokenizer_sha256(ByT5Tokenizer()) == tokenizer_sha256(ByT5Tokenizer())
    assert tokenizer_sha256(ByT5Tokenizer()) != tokenizer_sha256(ByT5Tokenizer(extra_ids=7))


def test_a_text_that_is_a_folder_names_the_flags(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data_dir"):
        text_sha256(tmp_path, tmp_path / "cache")
