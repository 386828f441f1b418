"""What a document of plain text is: found by looking at the text, and read with its line breaks."""

import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dlib.args import DataArgs
from dlib.data import lines, passages
from dlib.data.documents import divide_lines, settle_division
from dlib.data.passages import BLANKS, iterate_passages
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.text import iterate_documents, iterate_raw
from dlib.data.token_store import build_token_store
from dlib.process.errors import UserError
from tests.data.conftest import SENTENCES, SEPARATOR_ID, put_together
from tests.launching import sentence

PLAY = ["First Citizen:", "Before we proceed any further, hear me speak.", "", "All:", "Speak, speak.", ""]
CODE = ["def add(a, b):", "    return a + b", "", "", "def double(a):", "    return add(a, a)", "  "]
POEM = ["The keeper went down to the river at night,", "where nobody waited, and nobody came,"]
CAPTIONS = ["Two men are at the stove preparing food.", "A girl in a red dress, alone", "CC(=O)OC1=CC=CC=C1C(=O)O"]
ALPHABET = st.sampled_from(["a", "b", " ", "  ", "\t", "\r\n", "\n", "\n", "\n\n", "é", "漢"])


@pytest.mark.parametrize(
    ("text", "document"),
    [
        (PLAY * 50, "blank_line"),
        (CODE * 50, "blank_line"),
        (POEM * 50, "file"),
        ([*POEM * 150, ""] * 2, "file"),
        (CAPTIONS * 50, "line"),
        ([*CAPTIONS * 150, ""] * 2, "line"),
        ([sentence(random.Random(1)) * 4] * 50, "line"),
        ([sentence(random.Random(1)) * 4, ""] * 50, "line"),
        ([*[sentence(random.Random(1)) * 4] * 5, ""] * 50, "line"),
        (["a caption", ""] * 50, "line"),
        (["", "", ""], "line"),
        ([], "line"),
    ],
)
def test_a_document_is_what_the_text_looks_like(text: list[str], document: str) -> None:
    assert divide_lines(text).document == document
    assert divide_lines([f"{line}\r" for line in text]).document == document


def test_blank_lines_between_long_lines_are_told_with_the_flag_that_goes_by_them() -> None:
    long = sentence(random.Random(1)) * 4
    told = "; blank lines part them, 5.0 at a time: if those are documents, write --document blank_line"
    assert divide_lines([*[long] * 5, ""] * 50).reason.endswith(told)
    for lines_alike in ([long] * 50, [long, ""] * 50, [*[long] * 500, ""] * 2):
        assert divide_lines(lines_alike).reason.endswith(" characters or more")


def test_a_files_folder_is_its_label(tmp_path: Path) -> None:
    columns = Columns(("text", "text_pair"), ("label",), optional=("text_pair",))
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(f"Two lines\nof a {name} film.\n")
    text = tmp_path / "[bg]*" / "*.txt"
    found = [*iterate_raw(text, columns, "strict", "file")]
    assert [(document.sequences, document.fields) for document in found] == [
        ((f"Two lines\nof a {name} film.", ""), (name,)) for name in ("bad", "good")
    ]
    assert [*iterate_documents(text, columns=columns, document="file")][::2] == [d.sequences[0] for d in found]
    linked = tmp_path / "linked" / "fine" / "1.txt"
    linked.parent.mkdir(parents=True)
    linked.symlink_to(tmp_path / "good" / "1.txt")
    [document] = iterate_raw(linked, columns, "strict", "file")
    assert document.fields == ("fine",)
    with pytest.raises(UserError, match="or --document file for files in folders that have the labels' names"):
        next(iterate_raw(text, columns, "strict"))
    with pytest.raises(UserError, match="plain text has no source, target"):
        next(iterate_raw(text, Columns(("source", "target")), "strict", "file"))


def test_a_file_in_another_folder_has_another_label(byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    columns, text = Columns(fields=("label",)), tmp_path / "*" / "*.txt"

    def labels() -> list[str]:
        options = {"columns": columns, "document": "file", "cache_dir": tmp_path / "cache"}
        store = build_token_store(text, byte_tokenizer, separator_id=1, **options)  # type: ignore[arg-type]
        return [store.field("label", number) for number in range(store.num_documents)]

    for file in ("bad/1.txt", "bad/2.txt", "good/3.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(file)
    assert labels() == ["bad", "bad", "good"]
    (tmp_path / "bad" / "2.txt").rename(tmp_path / "good" / "2.txt")
    assert labels() == ["bad", "good", "good"]
    (tmp_path / "good").rename(tmp_path / "great")
    assert labels() == ["bad", "great", "great"]


def test_only_auto_looks_and_only_where_plain_text_is_packed(tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    file.write_text("\n".join(PLAY * 50))
    found = settle_division(DataArgs(), [file], TEXT_ONLY)
    assert found.document == "blank_line"
    assert "at most 45 characters, 2.0 between blank lines" in found.reason
    assert settle_division(DataArgs(document="file"), [file], TEXT_ONLY).document == "file"
    assert settle_division(DataArgs(line_by_line=True), [file], TEXT_ONLY).document == "line"
    assert settle_division(DataArgs(), [file], Columns(fields=("label",))).document == "line"
    (tmp_path / "train.jsonl").write_text('{"text": "one"}')
    assert settle_division(DataArgs(), [tmp_path / "train.jsonl"], TEXT_ONLY) == ("line", "as .jsonl divides them")
    document, reason = settle_division(DataArgs(), [tmp_path / "train.jsonl", file], TEXT_ONLY)
    assert (document, reason.partition(":")[0]) == (
        "blank_line",
        "each of train.txt is what stands between blank lines (--document blank_line)",
    )


def passages_of(file: Path, range_bytes: int, *, at_blank_lines: bool) -> list[str]:
    """The documents of a file, put together from the pieces of its ranges."""
    read = partial(iterate_passages, file, encoding_errors="strict", at_blank_lines=at_blank_lines)
    return put_together(file, range_bytes, read)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(ALPHABET, max_size=60), range_bytes=st.integers(1, 30), piece_bytes=st.integers(7, 20))
def test_documents_are_the_same_in_ranges_and_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], range_bytes: int, piece_bytes: int
) -> None:
    content = re.sub(
        "[ \t]{4,}", "    ", "".join(parts)
    )  # a blank line that is longer than a piece is not known for one
    file = tmp_path_factory.getbasetemp() / "passages.txt"
    file.write_bytes(content.encode())
    text_lines = [line.removesuffix("\r") for line in content.split("\n")]
    paragraphs: list[list[str]] = [[]] if text_lines else []
    for line in text_lines:
        if line.strip(BLANKS):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([])
    expected = ["\n".join(paragraph) for paragraph in paragraphs if paragraph]
    whole = "\n".join(text_lines).strip("\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", piece_bytes)
        patch.setattr(passages, "PIECE_BYTES", piece_bytes)
        assert passages_of(file, range_bytes, at_blank_lines=True) == expected
        assert passages_of(file, range_bytes, at_blank_lines=False) == [whole] * (whole != "")


@pytest.mark.parametrize("document", ["blank_line", "file"])
def test_line_breaks_are_in_the_tokens_whatever_the_number_of_processes(
    byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, document: str, small_ranges: int
) -> None:
    text = tmp_path / "a.txt"
    stanza = "\n".join(SENTENCES)
    text.write_text(f"{stanza}\n\n" * (5 * small_ranges // 2 // len(stanza.encode())), encoding="utf-8")
    stores = [
        build_token_store(
            text,
            byte_tokenizer,
            separator_id=SEPARATOR_ID,
            cache_dir=tmp_path / str(processes),
            document=document,
            processes=processes,
        )
        for processes in (1, 2)
    ]
    assert stores[0].fingerprint == stores[1].fingerprint
    assert (stores[0].tokens == stores[1].tokens).all()
    expected = [text.read_text(encoding="utf-8").rstrip("\n")] if document == "file" else None
    expected = expected or [stanza] * text.read_text(encoding="utf-8").count("\n\n")
    found = [byte_tokenizer.decode(stores[0].segment(number).tolist()) for number in range(stores[0].num_documents)]
    assert found == expected
    assert next(iterate_documents(text, document="blank_line")) == stanza


def test_each_way_of_dividing_a_text_has_a_store_of_its_own(
    make_store: Callable[[str], object], byte_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("one\ntwo\n\nthree\n")

    def build(document: str) -> tuple[str, int]:
        store = build_token_store(text, byte_tokenizer, separator_id=1, cache_dir=tmp_path, document=document)
        return store.fingerprint, store.num_documents

    found = [build(document) for document in ("line", "blank_line", "file", "auto")]
    assert [documents for _, documents in found] == [3, 2, 1, 3]
    assert found[0] == found[3]
    assert len({fingerprint for fingerprint, _ in found}) == 3
