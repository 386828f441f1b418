"""Ids are those of the tokenizer, piece by piece, and text comes back from them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from dlib.data.fingerprint import Recipe, serialized_backend
from dlib.data.tokenizing import TokenizingJob, load_encode, tokenize_here
from dlib.data.tokenizing_processes import PACKAGE_ROOT, tokenize_in_processes, tokenize_text
from dlib.process.errors import UserError


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[[Path], TokenizingJob]:
    """A job that writes its parts under the test's own folder."""

    def make(text_file: Path) -> TokenizingJob:
        folder = tmp_path / "parts"
        folder.mkdir(exist_ok=True)
        return TokenizingJob(
            [str(text_file)], [text_file.name], Recipe("", "", 1, "strict"), "line", (), "<u2", str(folder)
        )

    return make


def parts_content(job: TokenizingJob) -> dict[str, bytes]:
    """The bytes of each file of a job."""
    return {file.name: file.read_bytes() for file in Path(job.folder).iterdir()}


@pytest.mark.usefixtures("small_ranges")
def test_processes_and_this_one_write_the_same_parts(
    make_job: Callable[[Path], TokenizingJob], long_text: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    job = make_job(long_text)
    here = list(tokenize_here(job, load_encode(*serialized_backend(byte_tokenizer))))
    expected = parts_content(job)
    for file in Path(job.folder).iterdir():
        file.unlink()
    assert list(tokenize_in_processes(job, *serialized_backend(byte_tokenizer), processes=2)) == here
    assert parts_content(job) == expected
    assert len(here) == 3


@pytest.mark.usefixtures("small_ranges")
def test_threads_of_one_process_write_the_same_parts(
    make_job: Callable[[Path], TokenizingJob], long_text: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    job = make_job(long_text)
    list(tokenize_here(job, load_encode(*serialized_backend(byte_tokenizer))))
    expected = parts_content(job)
    for file in Path(job.folder).iterdir():
        file.unlink()
    list(tokenize_in_processes(job, *serialized_backend(byte_tokenizer), processes=1, threads=3))
    assert parts_content(job) == expected


@pytest.mark.usefixtures("small_ranges")
def test_a_bad_byte_found_by_a_process_comes_with_its_line(
    tmp_path: Path, make_job: Callable[[Path], TokenizingJob], long_text: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    text = tmp_path / "bad.txt"
    content = long_text.read_bytes() + b"\nbad \xff byte\n"
    text.write_bytes(content)
    line = content[: content.index(b"\xff byte")].count(b"\n") + 1
    with pytest.raises(UserError, match=rf"bad\.txt line {line}: "):
        list(tokenize_in_processes(make_job(text), *serialized_backend(byte_tokenizer), processes=2))


@pytest.mark.usefixtures("small_ranges")
def test_a_process_that_cannot_write_reports_it(
    make_job: Callable[[Path], TokenizingJob], long_text: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    job = make_job(long_text)
    Path(job.folder).rmdir()
    with pytest.raises(FileNotFoundError):
        list(tokenize_in_processes(job, *serialized_backend(byte_tokenizer), processes=2))


@pytest.mark.usefixtures("small_ranges")
def test_a_process_that_dies_names_the_flag(
    make_job: Callable[[Path], TokenizingJob], long_text: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    backend, encode_special_tokens = serialized_backend(byte_tokenizer)
    broken = backend.replace('"BPE"', '"none such"')
    with pytest.raises(UserError, match="--tokenizer_processes"):
        list(tokenize_in_processes(make_job(long_text), broken, encode_special_tokens, processes=2))


def test_a_tokenizing_process_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, dlib.data.tokenizing_processes; print({'torch', 'transformers'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_batch_of_empty_documents_leaves_empty_parts(
    tmp_path: Path, make_job: Callable[[Path], TokenizingJob], byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("\n\n\n")
    job = make_job(text)
    list(tokenize_text(job, byte_tokenizer, processes=1))
    assert np.concatenate([np.fromfile(file, dtype="u1") for file in Path(job.folder).glob("*s")]).size == 0
