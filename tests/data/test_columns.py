"""What a document may lack, lists of texts with the length of each, where tokens stand, and values of any shape."""

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dlib.config.configuration import load_config
from dlib.data.joined_store import joined
from dlib.data.packing import LineRows
from dlib.data.samples import Columns, Sample
from dlib.data.text import iterate_documents
from dlib.data.token_store import TokenStore, build_token_store, open_token_store
from dlib.objectives import columns_read
from dlib.process.errors import UserError

WORDS = Columns(("tokens",), ("labels", "tokens"), lists=("tokens",))
QUESTIONS = Columns(("question", "context"), ("answers",), optional=("answers",), offsets=("context",))

Build = Callable[..., TokenStore]


@pytest.fixture
def build(tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast) -> Build:
    """Builds the store of records."""

    def build_store(
        records: Sequence[object],
        columns: Columns,
        tokenizer: PreTrainedTokenizerBase = byte_tokenizer,
        processes: int = 1,
        errors: str = "strict",
    ) -> TokenStore:
        file, cache = tmp_path / "a.jsonl", tmp_path / f"cache-{processes}"
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
        return build_token_store(
            file,
            tokenizer,
            separator_id=1,
            cache_dir=cache,
            columns=columns,
            processes=processes,
            encoding_errors=errors,
        )

    return build_store


def row(store: TokenStore, number: int) -> Sample:
    return LineRows(store, max_length=512, prefix_ids=[0], suffix_ids=[1]).sample(number)


def metaspace_tokenizer(prepend_scheme: str) -> PreTrainedTokenizerFast:
    """SentencePiece's way with spaces."""
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *((c, -1.0) for c in "▁abcdefghijklmnopqrstuvwxyz")], 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="a")


def character_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({character: number for number, character in enumerate(" abcdeknotw")}))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="a")


def test_a_key_that_is_optional_may_be_missing_or_null(build: Build) -> None:
    columns = Columns(("text", "pair"), ("label",), optional=("pair", "label"))
    records = [{"text": "a"}, {"text": "b", "pair": "c d", "label": 0.5}, {"text": "e", "pair": None, "label": None}]
    store = build(records, columns)
    assert [store.field("label", number) for number in range(3)] == [None, 0.5, None]
    assert [len(store.segment(number, 1)) > 0 for number in range(3)] == [False, True, False]
    assert store.distinct("label") == [0.5]
    with pytest.raises(UserError, match='line 2: no key "text"; there are: "pair"'):
        build([{"text": "a"}, {"pair": "a"}], columns)


def write_reviews(folder: Path, suffix: str, text: str, pair: str, label: str) -> Path:
    """Writes two reviews in a format, the second without a pair."""
    values = [("good one", "is it", 3), ("bad one", "", 4)]
    file = folder / f"{text}{suffix}"
    if suffix in (".csv", ".tsv"):
        comma = "," if suffix == ".csv" else "\t"
        rows = [(text, pair, label), *values]
        file.write_text("".join(comma.join(map(str, row)) + "\n" for row in rows))
        return file
    records = [{text: good, label: number, **({pair: second} if second else {})} for good, second, number in values]
    if suffix == ".parquet":
        pytest.importorskip("pyarrow.parquet").write_table(
            pytest.importorskip("pyarrow").Table.from_pylist(records), file
        )
    else:
        lines = [json.dumps(record) for record in records]
        file.write_text("[" + ",".join(lines) + "]" if suffix == ".json" else "\n".join(lines))
    return file


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_keys_of_other_names_are_read_as_ours(
    suffix: str, tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    def store_of(file: Path, columns: Columns) -> TokenStore:
        return build_token_store(file, byte_tokenizer, separator_id=1, cache_dir=tmp_path / "cache", columns=columns)

    ours = Columns(("text", "text_pair"), ("label", "text_pair"), optional=("text_pair",))
    theirs = replace(ours, keys={"text": "review", "text_pair": "about", "label": "stars"})
    plain = store_of(write_reviews(tmp_path, suffix, "text", "text_pair", "label"), ours)
    file = write_reviews(tmp_path, suffix, "review", "about", "stars")
    named = store_of(file, theirs)
    assert (named.folder / "tokens.bin").read_bytes() == (plain.folder / "tokens.bin").read_bytes()
    for name in ("label", "text_pair"):
        assert [named.field(name, n) for n in range(2)] == [plain.field(name, n) for n in range(2)]
    assert (found := open_token_store(named.folder)) is not None
    assert found.recipe.columns.keys == theirs.keys
    assert [*iterate_documents(file, columns=theirs)] == ["good one", "is it", "bad one", ""]
    assert "keys" not in plain.recipe.content
    advice = 'no key "text"; there are: "review".*; if one of them is meant, say which: --keys text=KEY'
    with pytest.raises(UserError, match=advice):
        store_of(file, ours)
    with pytest.raises(UserError, match='no key "note"'):
        store_of(file, replace(ours, keys={**theirs.keys, "label": "note"}))


def test_a_key_that_the_objective_does_not_read_is_refused() -> None:
    args = load_config([], {"objective.objective": "sequence_classification", "data.keys": {"txt": "review"}})
    with pytest.raises(
        UserError, match=r"--keys txt=\.\.\.: --objective sequence_classification reads text, text_pair, label"
    ):
        columns_read(args)
    assert columns_read(replace(args, data=replace(args.data, keys={"label": "a"}))).keys == {"label": "a"}


def test_a_value_of_any_shape_comes_back(build: Build) -> None:
    values = [{"text": ["a ü", "\x00"], "answer_start": [3]}, [], [[1, 2.5], None, True], {}]
    store = build([{"text": "a", "value": value} for value in values], Columns(fields=("value",)))
    assert [store.field("value", number) for number in range(4)] == values
    assert store.fields[0].kind == "list or object"


def test_what_is_distinct_of_lists_are_their_items(build: Build) -> None:
    records = [{"tokens": ["a", "b"], "labels": ["X", "O"]}, {"tokens": ["c"], "labels": ["B"]}]
    assert build(records, WORDS).distinct("labels") == ["B", "O", "X"]


@pytest.mark.parametrize(("errors", "kept"), [("replace", "a\ufffd"), ("ignore", "a")])
def test_half_a_surrogate_pair_within_a_value_is_treated_as_in_a_text(build: Build, errors: str, kept: str) -> None:
    columns = Columns(("words",), ("words",), lists=("words",))
    store = build([{"words": ["a\ud800"]}], columns, errors=errors)
    assert store.field("words", 0) == [kept]
    with pytest.raises(UserError, match='line 1: key "words": half a surrogate pair'):
        build([{"words": ["a\ud800"]}], columns)


def test_items_of_a_list_are_tokenized_as_words_after_a_space(
    build: Build, byte_tokenizer: PreTrainedTokenizerFast, word_tokenizer: PreTrainedTokenizerFast
) -> None:
    prefixing = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(byte_tokenizer.backend_tokenizer.to_str()))
    prefixing.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    words = ["the", "dog", "knows", "a", "fox"]
    trials = [byte_tokenizer, prefixing, word_tokenizer, metaspace_tokenizer("always"), metaspace_tokenizer("never")]
    for tokenizer in trials:
        store = build([{"tokens": words, "labels": []}], WORDS, tokenizer)
        ends = [
            len(tokenizer(" ".join(["x", *words[:count]]), add_special_tokens=False)["input_ids"]) for count in range(6)
        ]
        whole = tokenizer(" ".join(["x", *words]), add_special_tokens=False)["input_ids"]
        assert store.segment(0).tolist() == whole[ends[0] :]
        assert row(store, 0).lengths["tokens"].tolist() == np.diff(ends).tolist()


def test_a_tokenizer_of_characters_has_the_space_before_each_word(build: Build) -> None:
    store = build([{"tokens": ["two", "ten"], "labels": []}], WORDS, character_tokenizer())
    assert character_tokenizer().convert_ids_to_tokens(store.segment(0).tolist()) == list(" two ten")


def test_lists_may_be_empty_and_items_without_tokens(build: Build) -> None:
    columns = Columns(("first", "second"), lists=("second", "first"), optional=("first",))
    records = [{"first": [], "second": ["", "a", ""]}, {"second": []}, {"first": ["b", ""], "second": ["c"]}]
    store = build(records, columns)
    assert [[len(store.item_lengths(name, n)) for name in ("first", "second")] for n in range(3)] == [
        [0, 3],
        [0, 0],
        [2, 1],
    ]
    assert (store.item_lengths("second", 0) > 0).tolist() == [False, True, False]
    with pytest.raises(UserError, match='line 1: key "second": a is no list of texts'):
        build([{"first": [], "second": "a"}], columns)
    with pytest.raises(UserError, match='line 1: key "second": a list is no list of texts'):
        build([{"first": [], "second": [1]}], columns)


@pytest.mark.parametrize("piece_bytes", [1 << 20, 64])
def test_each_token_says_which_characters_it_stands_for(
    build: Build,
    byte_tokenizer: PreTrainedTokenizerFast,
    word_tokenizer: PreTrainedTokenizerFast,
    piece_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dlib.data.token_parts.PIECE_BYTES", piece_bytes)
    text = "  The quick brown fox jumps;  over Größe 漢字 🙂, the lazy dog. " * 20 + "x" * 100
    for tokenizer in (byte_tokenizer, word_tokenizer):
        store = build(
            [{"question": "Who jumps?", "context": text}, {"question": "", "context": "a b"}], QUESTIONS, tokenizer
        )
        spans, ids = row(store, 0).offsets["context"].tolist(), store.segment(0, 1).tolist()
        covered = {place for start, stop in spans for place in range(start, stop)}
        assert covered == {place for place, character in enumerate(text) if not character.isspace()}
        for token, (start, stop) in zip(ids, spans, strict=True):
            word = str(tokenizer.decode([token])).strip().removeprefix("##")
            if word.isascii() and word != "[UNK]":
                assert text[start:stop].lower() == word.lower()
        sample = row(store, 1)
        assert sample.offsets.keys() == {"context"}
        assert sample.offsets["context"][-1].tolist() == [2, 3]


def test_spans_are_the_same_whether_a_tokenizer_counts_the_blanks_or_not(
    build: Build, byte_tokenizer: PreTrainedTokenizerFast
) -> None:
    trimming = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(byte_tokenizer.backend_tokenizer.to_str()))
    trimming.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    record = {"question": "a", "context": " The dog,  the lazy fox "}
    spans = [
        row(build([record], QUESTIONS, each), 0).offsets["context"].tolist() for each in (byte_tokenizer, trimming)
    ]
    counted = [[span for span in each if span[0] < span[1]] for each in spans]
    assert counted[0] == counted[1]
    assert counted[0][:2] == [[1, 4], [5, 8]]


def many_records(count: int) -> list[dict[str, object]]:
    """Records that need several ranges."""
    return [
        {
            "question": "the fox " * (number % 5),
            "context": "the quick brown fox " * (number % 7),
            "words": ["quick brown"] * (number % 4),
        }
        | ({"answers": {"start": number}} if number % 3 else {})
        for number in range(count)
    ]


def test_lists_and_spans_of_many_ranges_do_not_depend_on_the_number_of_processes(
    build: Build, small_ranges: int
) -> None:
    columns = Columns(
        ("question", "context", "words"), ("answers",), optional=("answers",), lists=("words",), offsets=("context",)
    )
    records = many_records(1000)
    assert sum(map(len, map(json.dumps, records))) > 2 * small_ranges, "three ranges"
    one, three = (build(records, columns, processes=processes) for processes in (1, 3))
    assert {file.name: file.read_bytes() for file in one.folder.iterdir()} == {
        file.name: file.read_bytes() for file in three.folder.iterdir()
    }
    store = pickle.loads(pickle.dumps(three))
    for number in (0, 1, 689, 999):
        assert store.field("answers", number) == records[number].get("answers")
        lengths = store.item_lengths("words", number)
        assert (len(lengths), lengths.sum()) == (number % 4, len(store.segment(number, 2)))
        assert len(store.character_offsets("context", number)) == len(store.segment(number, 1))


def test_lists_and_spans_of_several_stores_are_those_of_each(build: Build) -> None:
    columns = Columns(("text", "words"), lists=("words",), offsets=("text",))
    records = [{"text": "a b", "words": ["c", "d d"]}, {"text": "a  b", "words": ["c"]}]
    store = joined([build([record], columns) for record in records])
    for number, record in enumerate(records):
        assert len(row(store, number).lengths["words"]) == len(record["words"])
        assert row(store, number).offsets["text"][-1].tolist() == [len(record["text"]) - 1, len(record["text"])]


@pytest.mark.parametrize("name", ["items.bin", "item-offsets.bin", "spans.bin"])
def test_a_store_with_a_damaged_file_is_built_again(build: Build, name: str) -> None:
    columns = Columns(("text", "words"), lists=("words",), offsets=("text",))
    store = build([{"text": "a b", "words": ["c", "d"]}], columns)
    (store.folder / name).unlink()
    assert open_token_store(store.folder) is None
    assert build([{"text": "a b", "words": ["c", "d"]}], columns).item_lengths("words", 0).tolist() == [2, 2]


def test_a_tokenizer_in_python_does_not_know_where_its_tokens_stand(build: Build) -> None:
    with pytest.raises(UserError, match="--tokenizer ByT5Tokenizer is written in Python and does not say which"):
        build([{"question": "a", "context": "b"}], QUESTIONS, ByT5Tokenizer())
    store = build([{"tokens": ["a", "b"], "labels": []}], WORDS, ByT5Tokenizer())
    assert store.item_lengths("tokens", 0).tolist() == [2, 2]


def test_a_tokenizer_is_trained_on_lists_as_on_words_with_spaces(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"tokens": ["one", "two"]}\n{"tokens": []}\n')
    assert list(iterate_documents(file, "strict", WORDS)) == ["one two", ""]


def test_only_sequences_are_lists_or_have_offsets() -> None:
    for wrong in ({"lists": ("a",)}, {"offsets": ("a",)}, {"lists": ("text",), "offsets": ("text",)}):
        with pytest.raises(ValueError, match="lists and offsets are of different sequences"):
            Columns(**wrong)  # type: ignore[arg-type]
