"""Rows by length: each once, neighbours alike, batches within their budget, and padding that is counted right."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib.data import lengths as lengths_module
from dlib.data.lengths import LengthOrder, order_by_length, read_lengths
from dlib.data.mixture import MixedRows
from dlib.data.packing import padding
from dlib.data.samples import Sample, SampleKey
from dlib.objectives.padding import stack_rows
from tests.toys import ListRows, toy_row


@dataclass(frozen=True)
class ToldRows:
    """Rows of known lengths (N, S), which nobody has to read."""

    told: np.ndarray

    def __len__(self) -> int:
        return len(self.told)

    def lengths(self, first: int, last: int) -> np.ndarray:
        return self.told[first:last]

    @property
    def num_tokens(self) -> int:
        return int(self.told.sum())

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        raise AssertionError("read")


def orders(max_length: int = 40) -> st.SearchStrategy[np.ndarray]:
    """Lengths of 1 to 200 rows of one to three sequences."""
    shapes = st.tuples(st.integers(1, 200), st.integers(1, 3), st.integers(0, 9))
    return shapes.map(lambda s: np.random.default_rng(s[2]).integers(1, max_length + 1, s[:2]))


def padded(told: np.ndarray, edges: np.ndarray) -> list[int]:
    """Tokens of each batch, by its rows' lengths in their order."""
    batches = [told[first:last] for first, last in pairwise(edges)]
    return [len(batch) * int(batch.max(0).sum()) for batch in batches]


@settings(max_examples=60, deadline=None)
@given(told=orders(), budget=st.integers(1, 2000), parts=st.integers(1, 5))
def test_batches_hold_each_row_once_and_their_parts_keep_the_budget(told: np.ndarray, budget: int, parts: int) -> None:
    order = order_by_length(ToldRows(told))
    assert sorted(order.numbers) == list(range(len(told)))
    assert order.num_tokens == told.sum()
    assert np.array_equal(told[order.numbers], np.repeat(order.lengths, np.diff(order.starts), axis=0))
    edges = order.cut(budget, parts)
    assert (edges[0], edges[-1]) == (0, len(told))
    assert (np.diff(edges) > 0).all()
    for first, last in pairwise(edges):
        dealt = first + (last - first) * np.arange(parts + 1) // parts
        dealt = dealt[np.append(True, np.diff(dealt) > 0)]
        costs = padded(told[order.numbers], dealt)
        assert max(costs) <= max(budget // parts, 0) or last - first == 1
        assert order.padded_tokens(dealt) == sum(costs)


def test_neighbours_in_the_order_differ_little_in_each_length() -> None:
    told = np.array([(source, target) for source in range(1, 9) for target in range(1, 9)])
    order = order_by_length(ToldRows(np.random.default_rng(0).permutation(told)))
    assert np.abs(np.diff(order.lengths, axis=0)).sum(1).max() == 1


def test_rows_of_one_length_alone_fill_batches_without_padding() -> None:
    order = order_by_length(ToldRows(np.repeat([[7], [9]], [20, 30], axis=0)))
    edges = order.cut(63, 1)
    assert edges.tolist() == [0, 9, 18, 25, 32, 39, 46, 50], "9 rows of 7; 2 of 7 and 5 of 9, padded to 9; 7 of 9"


@settings(max_examples=30, deadline=None)
@given(told=orders(), key=st.integers(0, 5))
def test_rows_of_a_range_are_those_of_its_lengths_in_an_order_of_their_own(told: np.ndarray, key: int) -> None:
    order = order_by_length(ToldRows(told))
    whole = order.rows(np.arange(len(told)), lambda number: 100 * key + number)
    assert sorted(whole) == list(range(len(told)))
    assert np.array_equal(told[whole], told[order.numbers])
    middle = len(told) // 3, len(told) // 3 + len(told) // 2
    if middle[0] < middle[1]:
        part = order.rows(np.arange(*middle), lambda number: 100 * key + number)
        assert np.array_equal(part, whole[slice(*middle)]), "a place has the same row however the range is cut"


def test_an_order_is_the_same_however_many_rows_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told = np.random.default_rng(3).integers(1, 300, (500, 2))
    reference = order_by_length(ToldRows(told))
    monkeypatch.setattr(lengths_module, "LENGTHS_AT_ONCE", 7)
    found = order_by_length(ToldRows(told))
    assert np.array_equal(found.numbers, reference.numbers)
    assert np.array_equal(found.lengths, reference.lengths)


def test_an_order_costs_four_bytes_a_row_at_most() -> None:
    told = np.random.default_rng(3).integers(1, 512, (70_000, 1))
    order: LengthOrder = order_by_length(ToldRows(told))
    assert order.numbers.nbytes <= 4 * len(told)
    assert order.lengths.nbytes + order.starts.nbytes < 10_000


def test_rows_that_do_not_tell_their_lengths_are_read() -> None:
    rows = ListRows([toy_row(length) for length in (5, 3, 9)])
    assert read_lengths(rows, 2).tolist() == [[5], [3]]
    assert [batch.tolist() for batch in order_by_length(rows).batches(1)] == [[1], [0], [2]]


def test_the_padding_that_is_counted_is_that_of_the_tensors() -> None:
    rows = ListRows([toy_row(int(length)) for length in np.random.default_rng(1).integers(2, 40, 300)])
    order = order_by_length(rows)
    edges = order.cut(200)
    with padding(of_like_lengths=True):
        tensors = [stack_rows([rows.rows[number] for number in batch], 0) for batch in order.batches(200)]
    assert order.padded_tokens(edges) == sum(torch.numel(tensor["input_ids"]) for tensor in tensors)


def test_rows_of_several_texts_are_in_one_order() -> None:
    told = np.random.default_rng(1).integers(1, 30, (50, 1))
    mixed = MixedRows(("a", "b"), (ToldRows(told[:20]), ToldRows(told[20:])))
    assert np.array_equal(read_lengths(mixed, 45), told[:45])
