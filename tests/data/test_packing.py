"""Rows lose no token, and a row is computed from its number alone."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from dlib.data.packing import LineRows, PackedRows, RowSource
from dlib.data.token_store import TokenStore
from dlib.process.errors import UserError

LEAD = 0
MakeStore = Callable[[str], TokenStore]


def all_rows(source: RowSource) -> list[np.ndarray]:
    """Every row, in order."""
    return [source.sample(index).ids for index in range(len(source))]


def test_packed_rows_are_the_stream_behind_lead_tokens(make_store: MakeStore) -> None:
    store = make_store("one two three\nfour five six seven\n" * 5)
    source = PackedRows(store, max_length=8, lead_id=LEAD, keep_tail=False)
    rows = all_rows(source)
    assert len(rows) == store.num_tokens // 7
    assert all(row.dtype == np.int64 and row.shape == (8,) and row[0] == LEAD for row in rows)
    assert np.array_equal(np.concatenate([row[1:] for row in rows]), store.tokens[: len(rows) * 7])
    assert source.num_tokens == len(rows) * 8


def test_a_kept_tail_makes_each_token_count_once(make_store: MakeStore) -> None:
    store = make_store("one two three\n" * 5)
    length = next(length for length in range(5, 50) if store.num_tokens % (length - 1))
    source = PackedRows(store, max_length=length, lead_id=LEAD, keep_tail=True)
    rows = all_rows(source)
    assert np.array_equal(np.concatenate([row[1:] for row in rows]), store.tokens)
    assert len(rows[-1]) < length
    assert source.num_tokens == sum(map(len, rows))


def test_full_rows_have_no_tail(make_store: MakeStore) -> None:
    store = make_store("one two three\n" * 6)
    length = store.num_tokens // 6 + 1
    for keep_tail in (False, True):
        assert [len(row) for row in all_rows(PackedRows(store, length, LEAD, keep_tail))] == [length] * 6


def test_a_text_shorter_than_a_row_is_one_row(make_store: MakeStore) -> None:
    store = make_store("one")
    source = PackedRows(store, max_length=512, lead_id=LEAD, keep_tail=False)
    assert len(source) == 1
    assert source.sample(0).ids.tolist() == [LEAD, *store.tokens.tolist()]
    assert source.num_tokens == store.num_tokens + 1


@pytest.mark.parametrize("keep_tail", [True, False])
@pytest.mark.parametrize("max_length", [2, 5, 9, 64])
def test_documents_that_are_kept_apart_each_begin_with_a_lead(
    make_store: MakeStore, max_length: int, keep_tail: bool
) -> None:
    store = make_store("one two three\nfour\na b\nfive six seven eight nine ten\n" * 3)
    source = PackedRows(store, max_length, LEAD, keep_tail, keep_apart=True)
    samples = [source.sample(index) for index in range(len(source))]
    documents = [np.append(LEAD, store.tokens[slice(*store.offsets[d : d + 2])]) for d in range(store.num_documents)]
    stream, begins = np.concatenate(documents), np.cumsum([0, *map(len, documents)])[:-1]
    found = np.concatenate([[LEAD], *(sample.ids[1:] for sample in samples)])
    assert np.array_equal(found, stream[: len(found)])
    assert len(found) == len(stream) or not (keep_tail or len(source) == 0)
    assert source.num_tokens == sum(len(sample.ids) for sample in samples)
    for index, sample in enumerate(samples):
        assert sample.document_starts is not None
        inside = begins - index * (max_length - 1)
        assert sample.document_starts.tolist() == [place for place in inside if 1 <= place < len(sample.ids)]
        assert (sample.ids[[0, *sample.document_starts]] == LEAD).all()


def test_line_rows_are_documents_without_separator_truncated(make_store: MakeStore) -> None:
    store = make_store("a\nb b b b b b b b b b b\n\nc d\n")
    source = LineRows(store, max_length=6, prefix_ids=[0], suffix_ids=[1, 2])
    rows = all_rows(source)
    assert len(rows) == store.num_documents == 3
    for index, row in enumerate(rows):
        document = store.tokens[store.offsets[index] : store.offsets[index + 1] - 1]
        assert row.tolist() == [0, *document[:3].tolist(), 1, 2]
        assert row.dtype == np.int64
    assert source.num_tokens == sum(map(len, rows))


def test_a_truncated_line_is_left_open_where_its_end_would_be_learned(make_store: MakeStore) -> None:
    store = make_store("a\nb b b b b b b b b b b\n\nc d\n" + "\n".join("e" * length for length in range(1, 12)))
    source = LineRows(store, max_length=6, prefix_ids=[0], suffix_ids=[1, 2], close_truncated=False)
    rows = all_rows(source)
    lengths = np.diff(store.offsets) - 1
    assert {3, 4, 5, 6} <= set(lengths.tolist()), "a line that fits, and those that just do not"
    for index, row in enumerate(rows):
        document = store.tokens[store.offsets[index] : store.offsets[index + 1] - 1].tolist()
        assert row.tolist() == ([0, *document, 1, 2] if len(document) <= 3 else [0, *document[:5]])
        assert source.sample(index).is_whole == (len(document) <= 3)
    assert source.num_tokens == sum(map(len, rows))


def test_lengths_are_summed_in_blocks(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlib.data.packing.LENGTHS_AT_ONCE", 3)
    source = LineRows(make_store("a b\nc\nd e f g h i j\n" * 4), max_length=5, prefix_ids=[0], suffix_ids=[])
    assert source.num_tokens == sum(map(len, all_rows(source)))


def test_lengths_are_told_without_reading_rows(make_store: MakeStore) -> None:
    for close_truncated in (True, False):
        source = LineRows(make_store("a b\nc\nd e f g h i j\n" * 4), 6, [0], [1], close_truncated)
        assert source.lengths(2, 11).tolist() == [[len(row)] for row in all_rows(source)[2:11]]


def test_rows_survive_pickling(make_store: MakeStore) -> None:
    store = make_store("one two three\n" * 5)
    for source in (PackedRows(store, 8, LEAD, False), LineRows(store, 8, [0], [1])):
        expected = source.sample(1).ids
        assert np.array_equal(pickle.loads(pickle.dumps(source)).sample(1).ids, expected)


def test_a_row_that_does_not_exist_is_refused(make_store: MakeStore) -> None:
    store = make_store("one two three\n" * 5)
    for source in (PackedRows(store, 8, LEAD, False), LineRows(store, 8, [0], [1])):
        for index in (-1, len(source)):
            with pytest.raises(IndexError):
                source.sample(index)


def test_a_length_without_room_for_text_names_the_flag(make_store: MakeStore) -> None:
    store = make_store("one")
    with pytest.raises(UserError, match=r"--max_length 1 .*at least 2"):
        PackedRows(store, 1, LEAD, False)
    with pytest.raises(UserError, match=r"--max_length 3 .*at least 4"):
        LineRows(store, 3, [0], [1, 2])
