"""Rows of like length of texts with weights: shares hold in each block, each text has epochs, any step is computed."""

from collections import Counter
from functools import partial
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib.args import ObjectiveArgs
from dlib.data import blocks as blocks_module
from dlib.data.blocks import BlockOrder, draws
from dlib.data.buckets import BucketPlan, cut_batches
from dlib.data.lengths import order_by_length
from dlib.data.mixture import MixedRows
from dlib.data.steps import TrainingSteps
from dlib.objectives import build_objective
from tests.data.costs import times_the_cost
from tests.data.test_buckets import told_rows
from tests.data.test_lengths import ToldRows
from tests.toys import toy_roles, unequal_rows


def mixed_plan(rows: MixedRows, budget: int, parts: int = 1, *, blocks: int = 3, seed: int = 1) -> BucketPlan:
    order, edges = cut_batches(rows, budget, parts)
    assert isinstance(order, BlockOrder)
    return BucketPlan(order, edges, budget, parts, blocks * (len(edges) - 1), seed)


def two_texts(counts: tuple[int, int] = (300, 90), weights: tuple[int, int] = (7, 3), sequences: int = 1) -> MixedRows:
    """One of long rows, one of short ones."""
    parts = told_rows(counts[0], 1, 40, sequences), told_rows(counts[1], 2, 15, sequences)
    return MixedRows(("long", "short"), parts, weights)


def told(rows: MixedRows) -> np.ndarray:
    return np.concatenate([part.told for part in rows.parts if isinstance(part, ToldRows)])


def samples(plan: BucketPlan, steps: range) -> list[tuple[int, int]]:
    """Epoch and number of each sample."""
    taken = (plan.step_samples(step) for step in steps)
    return [*chain.from_iterable(zip(*(values.tolist() for values in step), strict=True) for step in taken)]


@settings(deadline=None)
@given(size=st.integers(1, 40), count=st.integers(1, 90), first=st.integers(0, 10**9))
def test_a_text_has_each_row_equally_often_and_each_place_rows_next_to_each_other(
    size: int, count: int, first: int
) -> None:
    taken = [draws(np.arange(count), block, size, count) for block in range(first, first + size)]
    pairs = Counter(zip(*(np.concatenate(each).tolist() for each in zip(*taken, strict=True)), strict=True))
    assert max(pairs.values()) == 1, "no draw comes again"
    assert set(Counter(position for _, position in pairs).values()) == {count}
    for place, positions in enumerate(np.stack([positions for _, positions in taken], axis=1)):
        assert place * size // count <= positions.min()
        assert positions.max() <= -(-(place + 1) * size // count) - 1


@settings(max_examples=15, deadline=None)
@given(data=st.data(), sequences=st.integers(1, 2), seed=st.integers(0, 5))
def test_each_block_has_the_shares_and_each_text_each_row_once_in_each_of_its_epochs(
    data: st.DataObject, sequences: int, seed: int
) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    parts = tuple(told_rows(data.draw(st.integers(1, 25)), seed, 30, sequences) for _ in weights)
    rows = MixedRows(tuple("abc"[: len(parts)]), parts, tuple(weights))
    plan = mixed_plan(rows, 150, blocks=4, seed=seed)
    seen: list[tuple[int, int]] = []
    for block in range(4):
        steps = range(block * plan.steps_per_epoch, (block + 1) * plan.steps_per_epoch)
        assert plan.samples_before(steps.start) == len(seen)
        taken = samples(plan, steps)
        counts = Counter(rows.text_of(number) for _, number in taken)
        assert [counts[text] * sum(weights) for text in range(len(parts))] == [len(taken) * w for w in weights]
        seen += taken
    assert plan.total_samples == len(seen) == len(set(seen))
    for text, part in enumerate(parts):
        own = [(epoch, number) for epoch, number in seen if rows.text_of(number) == text]
        whole = len(own) // len(
            part
        )  # epochs; of the one at the border of two blocks some rows come before, some after
        for epoch in range(whole - 1):
            assert sum(one == epoch for one, _ in own) == len(part)
        assert set(Counter(number for _, number in own).values()) <= {whole - 1, whole, whole + 1}
        assert {epoch for epoch, _ in own} <= set(range(whole + 2))


def test_micro_batches_keep_the_budget_and_are_those_of_any_number_of_ranks() -> None:
    rows, parts, budget = two_texts((120, 40), sequences=2), 4, 800
    plan = mixed_plan(rows, budget, parts, blocks=2)
    for step in range(plan.total_steps):
        alone = plan.micro_batches(step, 0, 1)
        for batch in alone:
            assert len(batch.sample_ids) * told(rows)[batch.sample_ids].max(0, initial=0).sum() <= budget // parts
        for world_size in (2, 4):
            together = [batch for rank in range(world_size) for batch in plan.micro_batches(step, rank, world_size)]
            for one, other in zip(alone, together, strict=True):
                assert one.index == other.index
                assert np.array_equal(one.sample_ids, other.sample_ids)
                assert np.array_equal(one.epochs, other.epochs)


def test_a_step_is_a_pure_function_whatever_was_asked_before() -> None:
    plan, other = (mixed_plan(two_texts(), 400, 4) for _ in range(2))
    far = range(plan.total_steps - 1, plan.total_steps)
    expected = samples(plan, far)
    samples(other, range(plan.total_steps))
    assert samples(other, far) == expected


def test_blocks_seeds_and_epochs_have_orders_of_their_own() -> None:
    rows = two_texts((400, 400), (1, 3))
    plan, other = mixed_plan(rows, 200), mixed_plan(rows, 200, seed=2)
    steps = [range(block * plan.steps_per_epoch, (block + 1) * plan.steps_per_epoch) for block in range(3)]
    runs = [samples(plan, steps[0]), samples(plan, steps[1]), samples(other, steps[0]), samples(plan, steps[2])]
    for one, two in ((0, 1), (0, 2), (1, 2), (0, 3)):
        same = sum(a == b for (_, a), (_, b) in zip(runs[one], runs[two], strict=True))
        assert same < len(runs[0]) / 10
    drawn = [{number for _, number in run if number < 400} for run in runs]
    assert not drawn[0] & drawn[1], "of a text that a block has half of, the next one has other rows"
    assert drawn[0] != drawn[2], "and other seeds have other rows"
    assert drawn[0] != drawn[3], "and so has the text's next epoch"


def test_a_step_mixes_texts_where_they_have_rows_of_its_length() -> None:
    rows = MixedRows(("a", "b"), (told_rows(2000, 1), told_rows(500, 2)), (1, 1))
    plan = mixed_plan(rows, 1000, blocks=1)
    shares = [(plan.step_samples(step)[1] < 2000).mean() for step in range(plan.total_steps)]
    assert np.mean([0.2 < share < 0.8 for share in shares]) > 0.9


@pytest.mark.parametrize("weights", [(7, 3), (1, 9), (1, 99)])
def test_padding_is_little_and_not_more_than_the_plan_says(weights: tuple[int, int]) -> None:
    rows = two_texts((20_000, 5_000), weights)
    plan, padded, tokens = mixed_plan(rows, 4096, 4, blocks=2), 0, 0
    for step in range(plan.total_steps):
        for batch in plan.micro_batches(step, 0, 1):
            lengths = told(rows)[batch.sample_ids]
            padded += lengths.size * int(lengths.max(initial=0))
            tokens += int(lengths.sum())
    assert tokens / 2 == pytest.approx(plan.order.num_tokens, rel=0.002)
    assert 1 - tokens / padded <= plan.padding_share + 1e-4
    assert plan.padding_share < 0.01


def test_a_block_is_bounded_and_so_is_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "LONGEST_BLOCK", 1000)
    order, _ = cut_batches(two_texts((20_000, 5_000)), 4096, 4)
    assert isinstance(order, BlockOrder)
    assert (len(order), order.counts, order.num_rows) == (1000, (700, 300), 25_000)
    assert sum(text.numbers.nbytes for text in order.texts) <= 4 * 25_000


def test_a_far_step_costs_what_the_first_costs() -> None:
    plan = mixed_plan(two_texts((100_000, 100)), 4000, 4, blocks=10**6)
    first, last = (partial(plan.micro_batches, step, 0, 1) for step in (0, plan.total_steps - 1))
    assert times_the_cost(last, first) < 5


def test_a_place_that_has_room_for_more_than_any_row_is_a_batch_by_itself() -> None:
    rows = MixedRows(("a", "b"), (ToldRows(np.array([[9, 1], [1, 9]])), ToldRows(np.array([[5, 5]]))), (1, 9))
    plan = mixed_plan(rows, 10)
    assert {len(plan.step_samples(step)[1]) for step in range(plan.total_steps)} == {1}
    assert order_by_length(rows).most_tokens == plan.order.most_tokens == 10


def test_a_step_of_two_ranks_is_that_of_one_with_the_weight_of_each_text() -> None:
    rows = MixedRows(("a", "b"), (unequal_rows(40), unequal_rows(9)), (2, 1))
    order, edges = cut_batches(rows, 160, 4)
    plan, objective = BucketPlan(order, edges, 160, 4, 12, seed=3), build_objective(ObjectiveArgs(), toy_roles())
    for step in range(plan.total_steps):
        alone = TrainingSteps(rows, plan, objective, 0, 1)[step]
        shares = [TrainingSteps(rows, plan, objective, rank, 2)[step] for rank in range(2)]
        together = [item for share in shares for item in share["micro_batches"]]
        assert sum(alone["text_weights"]) == alone["weight"]
        assert all(share["text_weights"] == alone["text_weights"] for share in shares)
        for one, other in zip(alone["micro_batches"], together, strict=True):
            assert one["texts"].equal(other["texts"])
            assert all(one["batch"][name].equal(other["batch"][name]) for name in one["batch"])
