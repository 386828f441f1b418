"""Tables, columns of words, and files of one JSON value: what they hold comes back, and mistakes name their line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dlib.data import tables
from dlib.data.formats import reader_of
from dlib.data.lines import document_ranges
from dlib.data.samples import Columns
from dlib.data.token_store import TokenStore, build_token_store
from dlib.process.errors import UserError

LABELLED = Columns(fields=("label",))
TAGGED = Columns(("tokens",), ("tokens", "labels"), lists=("tokens",))
QUESTIONS = Columns(("question", "context"), ("id", "answers"), optional=("answers",))

Build = Callable[..., TokenStore]


@pytest.fixture
def build(tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast) -> Build:
    """Builds the store of a file of such a name and content."""

    def build_store(name: str, content: str, columns: Columns = LABELLED, processes: int = 1) -> TokenStore:
        file, cache = tmp_path / name, tmp_path / f"cache-{processes}"
        file.write_bytes(content.encode())
        return build_token_store(
            file, byte_tokenizer, separator_id=1, cache_dir=cache, columns=columns, processes=processes
        )

    return build_store


def values(store: TokenStore, name: str = "label") -> list[Any]:
    return [store.field(name, number) for number in range(store.num_documents)]


def texts(store: TokenStore, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [str(tokenizer.decode(store.segment(number).tolist())) for number in range(store.num_documents)]


def test_quotes_of_a_csv_hold_commas_quotes_and_line_breaks(
    build: Build, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    content = '\ufeff\r\nlabel, text\r\ngood,"one, ""two""\r\nand\n\nthree"\r\n\r\nbad,  four\n'
    store = build("a.csv", content)
    assert texts(store, byte_tokenizer) == ['one, "two"\nand\n\nthree', "  four"]
    assert values(store) == ["good", "bad"]


def test_a_quote_that_never_closes_does_not_fill_the_memory(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_CHARACTERS", 20)
    with pytest.raises(UserError, match=r"line 2: broken quotes \(field larger than field limit \(20\)\)"):
        build("a.csv", 'text,label\n"one,1\n' + "the fox,2\n" * 9 + '"')


def test_quotes_of_a_tsv_are_text(build: Build, byte_tokenizer: PreTrainedTokenizerFast) -> None:
    store = build("a.tsv", 'text\tlabel\n"one\tgood\n\na "b", c\tbad')
    assert texts(store, byte_tokenizer) == ['"one', 'a "b", c']
    assert values(store) == ["good", "bad"]


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        (["1", "0.5", "-3e2"], [1, 0.5, -300.0]),
        (["1", "2"], [1, 2]),
        (["pop", "1980", "007"], ["pop", "1980", "007"]),
        (["007", "1"], ["007", "1"]),
        (["1" * 40, "1"], ["1" * 40, "1"]),
        (["true", "", "nan"], ["true", "", "nan"]),
    ],
)
def test_a_column_of_a_table_is_of_numbers_where_its_first_value_is_one(
    build: Build, cells: list[str], kept: list[object]
) -> None:
    for separator, name in ((",", "a.csv"), ("\t", "a.tsv")):
        lines = "".join(f"a{separator}{cell}\n" for cell in cells)
        assert values(build(name, f"text{separator}label\n{lines}")) == kept


def test_an_empty_value_of_an_optional_column_is_none(build: Build) -> None:
    columns = Columns(("text", "pair"), ("label",), optional=("pair", "label"))
    store = build("a.tsv", "text\tpair\tlabel\na\t\t\nb\tc\t2\nd\te\tx\n", columns)
    assert values(store) == [None, 2, "x"]
    assert [len(store.segment(number, 1)) for number in range(3)] == [0, 1, 1]


def test_a_text_that_is_a_number_is_a_text(build: Build, byte_tokenizer: PreTrainedTokenizerFast) -> None:
    assert texts(build("a.csv", "text,label\n42,1\n"), byte_tokenizer) == ["42"]


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".conll"])
def test_files_of_many_ranges_are_the_same_for_any_number_of_processes(
    build: Build, suffix: str, small_ranges: int
) -> None:
    if suffix == ".conll":
        lines = f"the {'x' * 100} O\nfox {'x' * 100} B-X\n"
        content, columns = "".join(lines * (number % 5 + 1) + "\n" for number in range(300)), TAGGED
    else:
        separator = "," if suffix == ".csv" else "\t"
        rows = (f"{number}{separator}{'the quick fox ' * (number % 9)}\n" for number in range(2500))
        content, columns = f"label{separator}text\n" + "".join(rows), LABELLED
    assert len(content) > 2 * small_ranges
    one, three = (build(f"a{suffix}", content, columns, processes) for processes in (1, 3))
    assert one.num_documents == (300 if suffix == ".conll" else 2500)
    assert {file.name: file.read_bytes() for file in one.folder.iterdir()} == {
        file.name: file.read_bytes() for file in three.folder.iterdir()
    }


def test_columns_of_words_are_sentences(build: Build, byte_tokenizer: PreTrainedTokenizerFast) -> None:
    content = (
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\r\nrejects VBZ B-VP O\r\n \r\n\n"
        "-DOCSTART- -X- -X- O\nNew York\tNNP\tB-LOC\n, , O O\n"
    )
    store = build("a.conll", content, TAGGED)
    assert values(store, "tokens") == [["EU", "rejects"], ["New York", ","]]
    assert values(store, "labels") == [["B-ORG", "O"], ["B-LOC", "O"]]
    assert texts(store, byte_tokenizer) == [" EU rejects", " New York ,"]
    assert [len(store.item_lengths("tokens", number)) for number in range(2)] == [2, 2]
    assert store.distinct("labels") == ["B-LOC", "B-ORG", "O"]


@pytest.mark.parametrize(
    ("sentence", "words"),
    {
        "# sent_id = 1\n# text = a b c d e f g\nfox\tNOUN\tO": ["fox"],
        "#\tSYM\tO\n1\tNUM\tO": ["#", "1"],
        "# text = #1\n#\tSYM\tO\n1\tNUM\tO": ["#", "1"],
        "# id 7\tdomain=en\nfox _ _ O": ["fox"],
        "# id = 7\n# O\n#fox O": ["#", "#fox"],
        "fox O\n# O\n# 1 O": ["fox", "#", "#"],
        "# O": ["#"],
    }.items(),
)
def test_a_comment_before_a_sentence_is_none_of_its_words(build: Build, sentence: str, words: list[str]) -> None:
    store = build("a.conll", f"fox O\n\n{sentence}\n\n# O\nfox O\n", TAGGED)
    assert values(store, "tokens") == [["fox"], words, ["#", "fox"]]
    assert store.distinct("labels") == ["O"]


@settings(max_examples=50, deadline=None)
@given(
    sentences=st.lists(st.lists(st.sampled_from(["a", "é", "word"]), min_size=1, max_size=4), min_size=1, max_size=8),
    range_bytes=st.integers(1, 40),
)
def test_sentences_are_whole_in_ranges_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[str]], range_bytes: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "hypothesis.conll"
    file.write_text("\n\n".join("\n".join(f"{word}\tO" for word in words) for words in sentences), encoding="utf-8")
    found = [
        document.sequences[0]
        for byte_range in document_ranges(file, range_bytes)
        for document in reader_of(".conll")(file, byte_range, TAGGED, "strict")
    ]
    assert found == [tuple(words) for words in sentences]


def test_questions_of_squad_have_their_contexts(build: Build, byte_tokenizer: PreTrainedTokenizerFast) -> None:
    answers = [{"text": "fox", "answer_start": 4}, {"text": "the fox", "answer_start": 0}]
    paragraphs = [
        {
            "context": "the fox jumps",
            "qas": [
                {"id": "1", "question": "Who jumps?", "answers": answers},
                {"id": "2", "question": "Why?", "answers": [], "is_impossible": True},
            ],
        },
        {"context": "a dog", "qas": [{"id": "3", "question": "What?"}]},
    ]
    content = json.dumps({"version": "1.1", "data": [{"title": "Fox", "paragraphs": paragraphs}]})
    store = build("a.json", content, QUESTIONS)
    assert texts(store, byte_tokenizer) == ["Who jumps?", "Why?", "What?"]
    assert values(store, "id") == ["1", "2", "3"]
    assert values(store, "answers") == [
        {"text": ["fox", "the fox"], "answer_start": [4, 0]},
        {"text": [], "answer_start": []},
        None,
    ]


@pytest.mark.parametrize(
    "content", ['[{"text": "a", "label": 1},\n {"text": "b", "label": 2}]', " [ ] ", '{"data": []}']
)
def test_a_list_of_objects_is_read_one_by_one(build: Build, content: str) -> None:
    if "text" not in content:
        with pytest.raises(UserError, match=r"a\.json holds no text"):
            build("a.json", content)
        return
    assert values(build("a.json", content)) == [1, 2]
    assert values(build("b.json", f'{{"data": {content}}}')) == [1, 2]


@pytest.mark.parametrize("content", [" [ ] ", '{"data": []}', "[]\n"])
def test_an_empty_list_holds_no_text(build: Build, content: str) -> None:
    with pytest.raises(UserError, match=r"a\.json holds no text"):
        build("a.json", content)


def test_no_format_takes_the_store_of_another(build: Build) -> None:
    content = "text\na\n"
    stores = [build(f"a{suffix}", content, Columns()) for suffix in (".csv", ".tsv", ".txt")]
    assert len({store.fingerprint for store in stores}) == 3


MISTAKES: dict[str, tuple[str, str, str]] = {
    "open quote": ("a.csv", 'text,label\na,1\n"b,2\nc,3\n', r"a\.csv line 3: broken quotes \(unexpected end of data\)"),
    "quote inside": ("a.csv", 'text,label\n"a"b,1\n', "line 2: broken quotes"),
    "too few": ("a.csv", "text,label\n\na\n", "line 3: the number of values is 1, and that of names 2"),
    "too many": ("a.tsv", "text\tlabel\na\t1\nb\t2\t3\n", "line 3: the number of values is 3, and that of names 2"),
    "twice": ("a.tsv", "text\ttext\na\tb\n", r'line 1: 2 columns are called "text"'),
    "other name": ("a.csv", "sentence,label\na,1\n", 'line 2: no key "text"; there are: "sentence", "label"'),
    "text after numbers": ("a.csv", "text,label\na,1\nb,x\n", 'line 3: key "label": a text, where the first document'),
    "no label": ("a.conll", "a O\n\nb O\nc\n", 'line 3: the word "c" has no label'),
    "cut": ("a.json", '[{"text": "a", "label": 1},\n{"text": "b"', r"line 2: broken JSON \(Expecting ',' delimiter\)"),
    "cut between": ("a.json", '[{"text": "a", "label": 1},\n', r"line 1: broken JSON \(Expecting value\)"),
    "lines": ("a.json", '{"text": "a"}\n{"text": "b"}\n', r"line 2: broken JSON \(Extra data\); .* \.jsonl"),
    "after it": ("a.json", '[{"text": "a", "label": 1}]\n]', r"line 2: broken JSON \(Extra data\)"),
    "number": ("a.json", "7", r"line 1: no object; write a list of them"),
    "numbers": ("a.json", "[\n7]", r"line 2: no object; write a list of them"),
    "NaN": ("a.json", '[{"text": "a", "label": NaN}]', r"line 1: broken JSON \(NaN is no number in JSON\)"),
    "no list": ("a.json", '{"text": "a", "label": 1}', r"line 1: no object; write a list of them"),
    "no context": (
        "a.json",
        '{"data": [{"paragraphs": [{"qas": [{"id": 1}]}]}]}',
        "line 1: an article is not as in SQuAD",
    ),
    "no key": ("a.json", '[{"text": "a", "label": 1},\n\n{"label": 2}]', 'line 3: no key "text"'),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_and_line(build: Build, mistake: str) -> None:
    name, content, told = MISTAKES[mistake]
    with pytest.raises(UserError, match=told) as caught:
        build(name, content, TAGGED if name == "a.conll" else LABELLED)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_bytes_that_are_not_utf8_are_told_in_each_format(
    tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    contents = {
        "a.csv": b"text,label\na,1\n\xff,2\n",
        "a.tsv": b"text\tlabel\na\t1\n\xff\t2\n",
        "a.json": b'[{"text": "a",\n"label": 1},\n{"text": "\xff"}]',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name} line 3: bytes that are not UTF-8"):
            build_token_store(
                tmp_path / name, byte_tokenizer, separator_id=1, cache_dir=tmp_path / "cache", columns=LABELLED
            )
