"""The shuffle is a bijection for every size, has no bias that could be seen, and costs the same anywhere."""

from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib.data.permutation import MAX_SIZE, permute
from dlib.process.seeding import derive_key
from tests.data.costs import times_the_cost


@cache
def shuffles(size: int, num_keys: int) -> np.ndarray:
    """(num_keys, size): the shuffle of each of many keys."""
    positions = np.arange(size)
    return np.stack([permute(positions, size, derive_key("test", size, number)) for number in range(num_keys)])


def chi_square_excess(counts: np.ndarray, expected: float, degrees_of_freedom: int) -> float:
    """How many standard deviations a chi-square statistic lies above its mean."""
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float((statistic - degrees_of_freedom) / np.sqrt(2 * degrees_of_freedom))


def test_every_size_up_to_1100_and_those_around_larger_powers_of_two_are_permutations() -> None:
    around = (2**bits + distance for bits in range(11, 18) for distance in (-1, 0, 1))
    for size in (*range(1, 1101), *around):
        result = permute(np.arange(size), size, derive_key("sizes", size))
        assert (np.bincount(result, minlength=size) == 1).all(), size


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, MAX_SIZE), key=st.integers(0, 2**64 - 1), data=st.data())
def test_large_sizes_are_injective_and_stay_in_range(size: int, key: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, max(0, size - 2000)))
    positions = np.arange(start, min(start + 2000, size), dtype=np.int64)
    result = permute(positions, size, key)
    assert result.dtype == np.int64
    assert len(np.unique(result)) == len(positions)
    assert result.min() >= 0
    assert result.max() < size


def test_a_whole_million_is_a_permutation() -> None:
    assert np.array_equal(np.sort(permute(np.arange(1_000_003), 1_000_003, 5)), np.arange(1_000_003))


@pytest.mark.parametrize("size", [2, 5, 16, 33])
def test_each_element_comes_to_each_position_equally_often(size: int) -> None:
    results = shuffles(size, num_keys=1500)
    counts = np.stack([np.bincount(column, minlength=size) for column in results.T])
    # The counts of a fair shuffle exceed the mean of this distribution by 0.7 deviations, as their sums are fixed.
    assert chi_square_excess(counts, 1500 / size, (size - 1) ** 2) < 5


@pytest.mark.parametrize("size", [3, 16, 40])
def test_each_pair_of_elements_comes_to_neighbouring_positions_equally_often(size: int) -> None:
    results = shuffles(size, num_keys=1500)
    pairs = results[:, :-1] * size + results[:, 1:]
    counts = np.bincount(pairs.ravel(), minlength=size * size).reshape(size, size)
    counts = counts[~np.eye(size, dtype=bool)]
    # The pairs of one shuffle exclude each other, which only narrows the spread of the counts.
    assert chi_square_excess(counts, pairs.size / len(counts), len(counts) - 1) < 5


@pytest.mark.parametrize("size", [64, 257, 1000])
def test_neighbours_are_torn_apart_and_positions_forgotten(size: int) -> None:
    results = shuffles(size, num_keys=500).astype(float)
    correlations = [np.corrcoef(result[:-1], result[1:])[0, 1] for result in results]
    assert abs(np.mean(correlations) + 1 / size) < 5 / np.sqrt(500 * size)
    with_position = [np.corrcoef(np.arange(size), result)[0, 1] for result in results]
    assert abs(np.mean(with_position)) < 5 / np.sqrt(500 * size)
    fixed_points = (results == np.arange(size)).sum(axis=1)
    assert abs(fixed_points.mean() - 1) < 5 / np.sqrt(500)


def test_all_orders_of_four_appear_equally_often() -> None:
    codes = shuffles(4, num_keys=2400) @ np.array([64, 16, 4, 1])
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 24
    assert chi_square_excess(counts, 2400 / 24, 23) < 5


def test_the_two_shuffles_of_neighbouring_keys_are_unrelated() -> None:
    first, second = (permute(np.arange(10_000), 10_000, key) for key in (1, 2))
    assert (first == second).sum() < 10
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_a_position_does_not_depend_on_which_others_are_asked_for() -> None:
    whole = permute(np.arange(1000), 1000, 7)
    assert np.array_equal(permute(np.array([[999, 3], [3, 0]]), 1000, 7), whole[[[999, 3], [3, 0]]])
    assert permute(np.array([], dtype=np.int64), 1000, 7).shape == (0,)


def test_the_last_positions_of_an_enormous_size_cost_what_those_of_a_small_one_cost() -> None:
    small, enormous = (partial(permute, np.arange(size - 1000, size), size, 7) for size in (10_000, MAX_SIZE))
    assert times_the_cost(enormous, small) < 5


@pytest.mark.parametrize(("positions", "size"), [([-1], 5), ([5], 5), ([0], 0), ([0], MAX_SIZE + 1)])
def test_what_is_out_of_range_is_refused(positions: list[int], size: int) -> None:
    with pytest.raises(ValueError, match="not in"):
        permute(np.array(positions), size, 1)
