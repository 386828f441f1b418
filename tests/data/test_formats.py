"""A .jsonl is read as it is meant, what is wrong with it is told by line and key, and fields stay beside their text."""

import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from dlib.args import DataArgs
from dlib.data import fields, formats
from dlib.data.finding import find_text
from dlib.data.lines import ByteRange, iterate_lines
from dlib.data.packing import LineRows, PackedRows
from dlib.data.records import Document, document_of
from dlib.data.samples import Columns
from dlib.data.text import iterate_documents
from dlib.data.text_data import build_text_data, cut_rows
from dlib.data.token_roles import token_roles
from dlib.data.token_store import TokenStore, open_token_store
from dlib.process.errors import UserError

LABELLED = Columns(("text",), ("label", "weight", "seen", "source"))
PAIRS = Columns(("text", "other"))
RECORDS: list[dict[str, object]] = [
    {"text": "one two", "label": 3, "weight": 1, "seen": True, "source": "a"},
    {"text": "", "label": -1, "weight": 0.5, "seen": False, "source": ""},
    {"text": "Größe 漢字 🙂\nline", "label": 2**53 + 1, "weight": 2, "seen": True, "source": "ü b"},
]

Write = Callable[..., Path]
Build = Callable[..., TokenStore]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes records, or lines as they are, as a file."""

    def write_lines(lines: Sequence[Mapping[str, object] | str], name: str = "a.jsonl") -> Path:
        file = tmp_path / name
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_bytes("\n".join(texts).encode())
        return file

    return write_lines


@pytest.fixture
def build(build: Build) -> Build:
    """Builds a store of labelled records."""
    return lambda file, columns=LABELLED, **options: build(file, columns, **options)


def many_records(count: int) -> list[dict[str, object]]:
    """Records that need several ranges; a fraction comes late."""
    return [
        {
            "text": "the quick brown fox " * (number % 7),
            "label": number,
            "weight": number if number < count - 9 else number / 2,
            "seen": number % 3 == 0,
            "source": "x" * (number % 50),
        }
        for number in range(count)
    ]


def stored(store: TokenStore, tokenizer: PreTrainedTokenizerFast) -> list[dict[str, object]]:
    """The records of a store with one sequence."""
    return [
        {"text": tokenizer.decode(store.segment(number).tolist())}
        | {name: store.field(name, number) for name in store.recipe.fields}
        for number in range(store.num_documents)
    ]


def test_records_come_back_with_the_types_of_their_columns(
    write: Write, build: Build, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    store = build(write(RECORDS))
    assert stored(store, byte_tokenizer) == RECORDS
    assert [column.dtype for column in store.fields] == ["<i8", "<f8", "|b1", "|u1"]
    assert store.num_bytes == sum(len(str(record["text"]).encode()) + 1 for record in RECORDS)
    assert store.distinct("source") == ["", "a", "ü b"]
    assert store.distinct("weight") == [0.5, 1.0, 2.0]
    assert [type(store.field(name, 0)) for name in LABELLED.fields] == [int, float, bool, str]


@pytest.mark.parametrize("processes", [1, 3])
def test_fields_of_many_ranges_stay_with_their_text(
    write: Write, build: Build, byte_tokenizer: PreTrainedTokenizerFast, processes: int, small_ranges: int
) -> None:
    records = many_records(1600)
    file = write(records)
    assert file.stat().st_size > 3 * small_ranges
    assert stored(build(file, processes=processes), byte_tokenizer) == records


def test_the_ids_of_json_lines_are_those_of_the_same_plain_text(write: Write, build: Build) -> None:
    texts = ["one two", "", "three", "   ", "Größe 漢字"]
    plain = build(write(texts, "a.txt"), Columns())
    lines = build(write([{"text": text} for text in texts]), Columns())
    assert np.array_equal(plain.tokens, lines.tokens)
    assert np.array_equal(plain.offsets, lines.offsets)
    assert plain.num_bytes == lines.num_bytes


def test_the_same_bytes_read_by_another_format_or_for_other_columns_are_another_store(
    write: Write, build: Build, tmp_path: Path
) -> None:
    file = write(RECORDS)
    copy = tmp_path / "a.txt"
    copy.write_bytes(file.read_bytes())
    columns = [Columns(), LABELLED, Columns(("source",)), Columns(("text",), ("label",))]
    stores = [build(copy, Columns()), *(build(file, each) for each in columns)]
    assert len({store.fingerprint for store in stores}) == len(stores)
    assert all(build(file, each) == store for each, store in zip(columns, stores[1:], strict=True))


def test_several_sequences_are_segments_of_one_document(
    write: Write, build: Build, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    store = build(write([{"text": "one two", "other": ""}, {"text": "", "other": "three"}]), PAIRS)
    assert store.num_documents == 2
    assert len(store.offsets) == 5
    texts = [[byte_tokenizer.decode(store.segment(d, s).tolist()) for s in (0, 1)] for d in (0, 1)]
    assert texts == [["one two", ""], ["", "three"]]
    assert store.num_bytes == len("one two") + len("three") + 4


def test_a_row_has_the_sequences_framed_and_the_fields(write: Write, build: Build) -> None:
    columns = Columns(("text", "other"), ("label",))
    records = [{"text": "a", "other": "b b b b b b b b b", "label": n} for n in range(3)]
    store = build(write(records), columns)
    rows = LineRows(store, max_length=5, prefix_ids=[0], suffix_ids=[2])
    sample = pickle.loads(pickle.dumps(rows)).sample(1, ("key", 1))
    assert [ids.tolist() for ids in sample.sequences] == [
        [0, *store.segment(1, 0).tolist(), 2],
        [0, *store.segment(1, 1)[:3].tolist(), 2],
    ]
    assert (sample.fields, sample.number, sample.key) == ({"label": 1}, 1, ("key", 1))
    assert len(rows) == 3
    assert rows.num_tokens == sum(rows.sample(index).num_tokens for index in range(3))


def test_documents_with_fields_are_not_packed(
    write: Write, build: Build, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    file, roles = write(RECORDS), token_roles(byte_tokenizer)
    for names, kind in (((), PackedRows), (("label",), LineRows)):
        store = build(file, Columns(("text",), names))
        rows = cut_rows(DataArgs(max_length=8), store, roles, keep_tail=True, close_truncated=True)
        assert type(rows) is kind


def test_both_texts_have_fields_of_the_same_kinds(
    write: Write, tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    write([{"text": "a", "label": 1}], "train.jsonl")
    columns, roles = Columns(("text",), ("label",)), token_roles(byte_tokenizer)
    args = DataArgs(str(tmp_path), line_by_line=True, cache_dir=str(tmp_path / "cache"))
    for value in (2, 0.5):
        write([{"text": "a", "label": value}], "dev.jsonl")
        data = build_text_data(args, find_text(args), byte_tokenizer, roles, columns=columns)
        assert data.dev.sample(0).fields == {"label": value}
    write([{"text": "a", "label": "x"}], "dev.jsonl")
    with pytest.raises(UserError, match=r'dev\.jsonl: key "label": a text, where .*train\.jsonl has a number'):
        build_text_data(args, find_text(args), byte_tokenizer, roles, columns=columns)


def test_a_field_of_too_many_values_is_no_set_of_labels(
    write: Write, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "MOST_DISTINCT", 3)
    store = build(write([{"text": "a", "n": n, "m": n % 3} for n in range(4)]), Columns(("text",), ("n", "m")))
    assert store.distinct("m") == [0, 1, 2]
    with pytest.raises(UserError, match='key "n": more than'):
        store.distinct("n")


def test_integers_that_are_one_fraction_are_one_value(
    write: Write, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "VALUES_AT_ONCE", 2)  # the fraction comes with the second pair
    numbers = (2**53 + 1, 2**53, 0.5)
    store = build(write([{"text": "a", "n": n} for n in numbers]), Columns(("text",), ("n",)))
    assert store.distinct("n") == [0.5, 2.0**53]


def test_a_damaged_column_is_built_again(write: Write, build: Build) -> None:
    file = write(RECORDS)
    folder = build(file).folder
    for name in ("field-0.bin", "field-3.bin", "field-3-offsets.bin"):
        (folder / name).unlink()
        assert open_token_store(folder) is None
        assert build(file).field("source", 2) == "ü b"


def test_columns_stay_when_the_cache_is_removed(write: Write, build: Build) -> None:
    store = build(write(RECORDS))
    for file in store.folder.iterdir():
        file.unlink()
    assert store.field("source", 2) == "ü b"


MISTAKES: dict[str, tuple[str, str]] = {
    "broken": ('{"text": "a", "label": 1', r"a\.jsonl line 3: broken JSON \(Expecting ',' delimiter\)"),
    "two objects": ('{"text": "a", "label": 1} {}', r"line 3: broken JSON \(Extra data\)"),
    "deep": ("[" * 100_000, r"line 3: broken JSON \("),
    "many digits": ('{"text": "a", "label": ' + "1" * 5000 + "}", r"line 3: broken JSON \("),
    "no object": ("[1]", "line 3: no JSON object; write one a line"),
    "no text": ('{"label": 1, "sentence": "a"}', 'line 3: no key "text"; there are: "label", "sentence"'),
    "nothing": ("{}", 'line 3: no key "text"; there are: none'),
    "text is no text": ('{"text": 7, "label": 1}', 'line 3: key "text": 7 is no text'),
    "null": ('{"text": "a", "label": null}', 'line 3: key "label": null is no number, text or truth value'),
    "list": ('{"text": "a", "label": [1]}', 'key "label": a list or object, where the first document has a number'),
    "NaN": ('{"text": "a", "label": NaN}', r"line 3: broken JSON \(NaN is no number in JSON\)"),
    "infinite": ('{"text": "a", "label": 1e999}', 'line 3: key "label": inf is no number'),
    "too large": ('{"text": "a", "label": 9223372036854775808}', 'key "label": 9223372036854775808 is no number'),
    "other kind": ('{"text": "a", "label": "x"}', 'line 3: key "label": a text, where the first document has a number'),
    "truth": ('{"text": "a", "label": true}', 'line 3: key "label": a truth value, where the first document has a'),
    "surrogate": (r'{"text": "\ud800", "label": 1}', 'line 3: key "text": half a surrogate pair'),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_line_and_key(write: Write, build: Build, tmp_path: Path, mistake: str) -> None:
    line, told = MISTAKES[mistake]
    file = write(['{"text": "fine", "label": 1}', "", line])
    with pytest.raises(UserError, match=told) as caught:
        build(file, Columns(("text",), ("label",)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


@pytest.mark.usefixtures("small_ranges")
def test_a_mistake_in_a_later_range_is_told_by_a_process_with_its_line(write: Write, build: Build) -> None:
    records = many_records(1600)
    records[1300]["label"] = "x"
    with pytest.raises(UserError, match='line 1301: key "label": a text'):
        build(write(records), processes=2)


@pytest.mark.parametrize(("errors", "text"), [("replace", "a\ufffdb"), ("ignore", "ab")])
def test_half_a_surrogate_pair_is_treated_as_bad_bytes_are(
    write: Write, build: Build, byte_tokenizer: PreTrainedTokenizerFast, errors: str, text: str
) -> None:
    store = build(
        write([r'{"text": "a\ud800b", "source": "\udfff"}']), Columns(("text",), ("source",)), encoding_errors=errors
    )
    assert byte_tokenizer.decode(store.segment(0).tolist()) == text
    assert store.field("source", 0) == text[1:-1]


def test_plain_text_has_no_fields_even_where_it_is_in_the_cache(write: Write, build: Build) -> None:
    file = write(["one"], "train.txt")
    build(file, Columns())
    with pytest.raises(UserError, match=r"train\.txt: plain text has no text, label; give a \.jsonl"):
        build(file, Columns(("text",), ("label",)))


def test_a_tokenizer_is_trained_on_all_sequences(write: Write) -> None:
    file = write([{"text": "one", "other": "two"}, {"text": "three", "other": ""}])
    assert list(iterate_documents(file, "strict", Columns(("other", "text")))) == ["two", "one", "", "three"]
    assert list(iterate_documents(file)) == ["one", "three"]


def test_json_lines_are_found_where_there_is_no_plain_text(write: Write, tmp_path: Path) -> None:
    write(RECORDS, "train.jsonl")
    write(RECORDS, "val.jsonl")
    found = find_text(DataArgs(str(tmp_path)))
    assert (found.train.name, found.dev.name) == ("train.jsonl", "val.jsonl")
    write(["one"], "train.txt")
    write(["one"], "dev.txt")
    found = find_text(DataArgs(str(tmp_path)))
    assert (found.train.name, found.dev.name) == ("train.txt", "dev.txt")
    assert find_text(DataArgs(str(tmp_path), train_file="train.jsonl")).train.name == "train.jsonl"


def test_a_link_is_read_as_its_own_name_says(write: Write, build: Build, tmp_path: Path) -> None:
    link = tmp_path / "train.jsonl"
    link.symlink_to(write(RECORDS, "blob"))
    assert build(link).num_documents == 3


def test_a_long_text_is_tokenized_in_pieces(
    write: Write, build: Build, byte_tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlib.data.token_parts.PIECE_BYTES", 64)
    text = "words  and   blanks, of all sorts; " * 50 + "x" * 300
    store = build(write([{"text": text}]), Columns())
    assert byte_tokenizer.decode(store.segment(0).tolist()) == text
    cut = text.rfind(" ")
    assert store.segment(0).tolist()[:20] == byte_tokenizer(text[:cut], add_special_tokens=False)["input_ids"][:20]


def read_fasttext(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """A format as a user writes one."""
    for offset, line in iterate_lines(file, byte_range, encoding_errors):
        label, _, text = line.partition(" ")
        yield document_of({"label": label, "text": text} if text else {"label": label}, columns, offset)


def test_a_format_of_ones_own_is_a_function_and_a_line(
    write: Write, build: Build, monkeypatch: pytest.MonkeyPatch, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    monkeypatch.setitem(formats.FORMATS, ".fasttext", read_fasttext)
    columns = Columns(("text",), ("label",))
    store = build(write(["good one two", "bad three"], "a.fasttext"), columns)
    assert stored(store, byte_tokenizer) == [{"text": "one two", "label": "good"}, {"text": "three", "label": "bad"}]
    assert store.distinct("label") == ["bad", "good"]
    with pytest.raises(UserError, match='line 2: no key "text"; there are: "label"'):
        build(write(["good one two", "bad"], "a.fasttext"), columns)
