"""Samples of several texts: the shares hold, each text has each of its rows once an epoch, and any step is computed."""

from collections import Counter
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib.config.corpora import LARGEST_CYCLE, Corpus, whole_weights
from dlib.data.batching import BatchPlan
from dlib.data.mixture import MixedRows, Mixture, turns_of_a_cycle
from tests.data.costs import times_the_cost
from tests.toys import ListRows, unequal_rows

WEIGHTS = st.lists(st.integers(1, 60), min_size=1, max_size=6).map(tuple)
A, B = unequal_rows(5), unequal_rows(3)


@settings(deadline=None)
@given(WEIGHTS)
def test_after_any_number_of_samples_each_text_has_its_share_to_within_one(weights: tuple[int, ...]) -> None:
    turns, ranks = turns_of_a_cycle(weights)
    cycle = sum(weights)
    for text, weight in enumerate(weights):
        own = turns == text
        assert ranks[own].tolist() == list(range(weight))
        seen = np.cumsum(own)
        wanted = np.arange(1, cycle + 1) * weight
        assert (np.abs(seen * cycle - wanted) < cycle).all()


@settings(deadline=None)
@given(st.data(), st.integers(0, 5))
def test_each_text_has_each_row_once_in_each_of_its_epochs(data: st.DataObject, seed: int) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=len(weights), max_size=len(weights)))
    numbers = np.arange(data.draw(st.integers(1, 200)), dtype=np.int64)
    epochs, rows = Mixture(tuple(sizes), tuple(weights)).samples(numbers, seed)
    start = 0
    for size in sizes:
        own = (rows >= start) & (rows < start + size)
        assert epochs[own].tolist() == [number // size for number in range(own.sum())]
        for epoch in range(own.sum() // size):
            assert sorted(rows[own & (epochs == epoch)]) == list(range(start, start + size))
        start += size


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**12))
def test_samples_do_not_depend_on_the_step_that_takes_them(batch_size: int, far: int) -> None:
    mixture = Mixture((50, 7), (2, 3))
    plan = BatchPlan(57, batch_size, 1, far + 10 * batch_size, 4, mixture)
    step = far // batch_size
    taken = plan.step_samples(step)
    numbers = np.arange(step * batch_size, (step + 1) * batch_size)
    for one, other in zip(taken, mixture.samples(numbers, 4), strict=True):
        assert np.array_equal(one, other)
    halves = [mixture.samples(part, 4) for part in np.array_split(numbers, 2)]
    assert np.array_equal(np.concatenate([half[1] for half in halves]), taken[1])


def test_texts_and_epochs_have_orders_of_their_own() -> None:
    epochs, rows = Mixture((100, 100), (1, 1)).samples(np.arange(400), 1)
    orders = [rows[(epochs == epoch) & (rows // 100 == text)] % 100 for text in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert max((one == other).sum() for i, one in enumerate(orders) for other in orders[:i]) < 15


def test_the_cost_of_a_cycle_grows_as_its_length() -> None:
    anew = turns_of_a_cycle.__wrapped__  # not what was kept of the call before
    short, longest = (partial(anew, (size - 999, 333, 333, 333)) for size in (LARGEST_CYCLE // 10, LARGEST_CYCLE))
    assert times_the_cost(longest, short, repeats=3) < 30
    assert Counter(longest()[0].tolist())[0] == LARGEST_CYCLE - 999


def test_weights_become_the_smallest_whole_numbers() -> None:
    def whole(*weights: str) -> tuple[int, ...]:
        return whole_weights([Corpus("a", "a", Fraction(weight)) for weight in weights])

    assert whole("0.7", "0.3") == (7, 3)
    assert whole("4", "6") == (2, 3)
    assert whole("0.5", "0.25", "1") == (2, 1, 4)
    assert whole_weights([Corpus("a", "a")]) == ()


def test_rows_of_several_texts_stand_one_text_after_the_other() -> None:
    rows = MixedRows(("a", "b"), (A, B))
    assert len(rows) == 8
    assert [rows.text_of(index) for index in range(8)] == [0] * 5 + [1] * 3
    sample = rows.sample(6, (1, 2, 6))
    assert np.array_equal(sample.ids, B.sample(1).ids)
    assert sample.key == (1, 2, 6)
    assert rows.num_tokens == A.num_tokens + B.num_tokens
    with pytest.raises(IndexError):
        rows.sample(8)


def test_tokens_of_a_sample_are_a_mean_over_the_turns() -> None:
    long, short = ListRows([np.arange(30)] * 2), ListRows([np.arange(10)] * 8)
    assert MixedRows(("a", "b"), (long, short)).tokens_per_sample == Fraction(140, 10)
    assert MixedRows(("a", "b"), (long, short), (3, 1)).tokens_per_sample == 25
