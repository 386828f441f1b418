"""What a document is, and that reading one needs little memory."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib.args import DataArgs
from dlib.data import lines
from dlib.data.finding import find_split
from dlib.data.lines import ByteRange, DocumentError, iterate_pieces
from dlib.data.text import LONGEST_WORD, iterate_documents
from dlib.process.errors import UserError
from tests.data.conftest import put_together

ENDINGS = {
    b"one\ntwo\n": ["one", "two"],
    b"one\r\ntwo\r\n": ["one", "two"],
    b"no line feed at the end": ["no line feed at the end"],
    b"a\rb\n\x00c\n": ["a\rb", "\x00c"],
    b"a\r\r\nb\r": ["a\r", "b\r"],
    b"a\n\n\r\n b \n": ["a", "", "", " b "],
    "a\u2028b\x0bc\x85d\n".encode(): ["a\u2028b\x0bc\x85d"],
    b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n": ["one", "\ufefftwo"],
    b"": [],
    b"\n": [""],
}
ALPHABET = st.sampled_from(["a", "b", " ", "  ", "\r", "\n", "\r\n", "\x00", "é", "漢", "🙂"])


def documents(file: Path, range_bytes: int, encoding_errors: str = "strict") -> list[str]:
    """The documents of a file, put together from the pieces of its ranges."""
    return put_together(file, range_bytes, lambda byte_range: iterate_pieces(file, byte_range, encoding_errors))


@pytest.mark.parametrize("content", ENDINGS, ids=repr)
def test_lines_end_with_a_line_feed_and_all_else_is_data(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    assert documents(file, 4) == ENDINGS[content]
    assert list(iterate_documents(file)) == ENDINGS[content]


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(ALPHABET, max_size=60), range_bytes=st.integers(1, 30), piece_bytes=st.integers(5, 20))
def test_pieces_and_ranges_of_any_size_concatenate_to_the_lines(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], range_bytes: int, piece_bytes: int
) -> None:
    content = "".join(parts)
    file = tmp_path_factory.getbasetemp() / "hypothesis.txt"
    file.write_bytes(content.encode())
    expected = [line.removesuffix("\r") for line in content.split("\n")[:-1]]
    expected += [content.split("\n")[-1]] if content and not content.endswith("\n") else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", piece_bytes)
        assert documents(file, range_bytes) == expected


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=60).filter(lambda content: b"\n" not in content), piece_bytes=st.integers(5, 20))
def test_replaced_bytes_are_those_of_the_whole_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, piece_bytes: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "hypothesis.txt"
    file.write_bytes(b"x" + content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", piece_bytes)
        assert documents(file, 10, "replace") == [(b"x" + content).decode("utf-8", "replace")]


def test_a_long_line_is_cut_before_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", 12)
    file = tmp_path / "a.txt"
    file.write_text("one two three   four five")
    pieces = [piece.text for piece in iterate_pieces(file, ByteRange(0, 25), "strict")]
    assert pieces == ["one two", " three  ", " four five"]


def test_a_long_line_needs_memory_for_a_piece_only(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with file.open("wb") as writer:
        for _ in range(15):
            writer.write(b"word " * 200_000)
    tracemalloc.start()
    length = sum(len(document) for document in iterate_documents(file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length == 15_000_000
    assert peak < 10_000_000


def test_bytes_that_are_not_utf8_name_file_line_and_flag(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"fine\n\nfine \xc3\xa9 bad \xff\n")
    with pytest.raises(UserError, match=r"a\.txt line 3: .*--encoding_errors replace"):
        list(iterate_documents(file))
    assert list(iterate_documents(file, "replace"))[2] == "fine é bad \ufffd"
    assert list(iterate_documents(file, "ignore"))[2] == "fine é bad "


def test_the_offset_of_a_bad_byte_is_exact_within_a_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", 8)
    file = tmp_path / "a.txt"
    file.write_bytes(b"ab\n" + b"word " * 10 + b"\xff tail\n")
    with pytest.raises(DocumentError) as caught:
        documents(file, 100)
    assert caught.value.offset == 53


def test_a_missing_file_names_the_flags(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.txt.*--data_dir.*--train_file"):
        list(iterate_documents(tmp_path / "nothing.txt"))


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("a" * LONGEST_WORD, 1),
        ("a" * (LONGEST_WORD + 1), 2),
        (" " * 5 * LONGEST_WORD, 5),
        ("b" + "a" * 3 * LONGEST_WORD + " word", 4),
        ("word " * LONGEST_WORD, 1),
    ],
)
def test_a_tokenizer_is_trained_on_no_endless_word(line: str, pieces: int, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{line}\nnext\n")
    *cut, last = iterate_documents(tmp_path / "a.txt")
    assert ("".join(cut), last, len(cut)) == (line, "next", pieces)
    assert max(len(word) for piece in cut for word in piece.split() or [piece]) <= LONGEST_WORD


def test_a_text_of_an_absolute_path_needs_no_data_folder(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("one\n")
    assert find_split(DataArgs(data_dir=str(tmp_path / "none"), train_file=str(text)), "train").file == text
