"""The batch plan gives each sample once an epoch, the same for any number of ranks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib.data.batching import BatchPlan, check_batch_arithmetic, eval_batches, largest_micro_batch_size
from dlib.process.errors import UserError


def whole_run(plan: BatchPlan) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and sample numbers of all steps."""
    steps = [plan.step_samples(step) for step in range(plan.total_steps)]
    return np.concatenate([epochs for epochs, _ in steps]), np.concatenate([ids for _, ids in steps])


@settings(max_examples=50, deadline=None)
@given(num_samples=st.integers(1, 60), batch_size=st.integers(1, 70), total=st.integers(1, 300), seed=st.integers(0, 9))
def test_each_epoch_holds_each_sample_once_however_steps_fall(
    num_samples: int, batch_size: int, total: int, seed: int
) -> None:
    plan = BatchPlan(num_samples, batch_size, 1, total, seed)
    epochs, ids = whole_run(plan)
    assert len(ids) == total
    assert np.array_equal(epochs, np.arange(total) // num_samples)
    for epoch in range(total // num_samples):
        assert sorted(ids[epochs == epoch]) == list(range(num_samples))
    assert len(set(ids[epochs == epochs[-1]])) == (epochs == epochs[-1]).sum()


@settings(max_examples=50, deadline=None)
@given(micro=st.integers(1, 5), world=st.integers(1, 4), accumulation=st.integers(1, 4), total=st.integers(1, 200))
def test_ranks_share_the_step_whatever_their_number(micro: int, world: int, accumulation: int, total: int) -> None:
    plan = BatchPlan(37, micro * world * accumulation, micro, total, seed=3)
    for step in range(plan.total_steps):
        shares = [plan.micro_batches(step, rank, world) for rank in range(world)]
        assert {len(share) for share in shares} == {accumulation}
        together = [batch for share in shares for batch in share]
        assert [batch.index for batch in together] == list(range(world * accumulation))
        alone = plan.micro_batches(step, 0, 1)
        for one, other in zip(alone, together, strict=True):
            assert np.array_equal(one.sample_ids, other.sample_ids)
            assert np.array_equal(one.epochs, other.epochs)
        epochs, ids = plan.step_samples(step)
        assert np.array_equal(np.concatenate([batch.sample_ids for batch in together]), ids)
        assert np.array_equal(np.concatenate([batch.epochs for batch in together]), epochs)


def test_a_partial_last_step_leaves_short_and_empty_micro_batches() -> None:
    plan = BatchPlan(num_samples=100, batch_size=16, micro_batch_size=4, total_samples=22, seed=1)
    assert plan.total_steps == 2
    sizes = [[len(batch.sample_ids) for batch in plan.micro_batches(1, rank, 2)] for rank in range(2)]
    assert sizes == [[4, 2], [0, 0]]


def test_a_far_step_is_computed_directly_and_repeatably() -> None:
    plan = BatchPlan(num_samples=10**12, batch_size=256, micro_batch_size=8, total_samples=10**14, seed=1)
    first, second = (plan.step_samples(plan.total_steps - 1) for _ in range(2))
    assert np.array_equal(first[1], second[1])
    assert first[0][-1] == 99


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    plan = BatchPlan(200, 200, 8, 400, seed=1)
    other = BatchPlan(200, 200, 8, 400, seed=2)
    orders = [plan.step_samples(0)[1], plan.step_samples(1)[1], other.step_samples(0)[1]]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert (orders[one] == orders[two]).sum() < 20


def test_the_order_does_not_depend_on_batch_size() -> None:
    ids = [whole_run(BatchPlan(50, batch_size, 1, 120, seed=4))[1] for batch_size in (1, 7, 32)]
    assert np.array_equal(ids[0], ids[1])
    assert np.array_equal(ids[0], ids[2])


def test_what_does_not_exist_is_refused() -> None:
    plan = BatchPlan(50, 8, 2, 80, seed=4)
    for step in (-1, 10):
        with pytest.raises(ValueError, match="step"):
            plan.step_samples(step)
    for rank, world_size in ((2, 2), (0, 3)):
        with pytest.raises(ValueError, match="rank"):
            plan.micro_batches(0, rank, world_size)


@settings(deadline=None)
@given(num_samples=st.integers(0, 100), batch_size=st.integers(1, 20), world=st.integers(1, 6))
def test_an_evaluation_sees_each_sample_once_in_batches_that_ranks_do_not_change(
    num_samples: int, batch_size: int, world: int
) -> None:
    shares = [eval_batches(num_samples, batch_size, rank, world) for rank in range(world)]
    batches = [tuple(batch.tolist()) for share in shares for batch in share]
    assert Counter(sample for batch in batches for sample in batch) == Counter(range(num_samples))
    assert sorted(batches) == [tuple(batch.tolist()) for batch in eval_batches(num_samples, batch_size, 0, 1)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("batch_size", "most", "expected"), [(32, 8, 8), (16, 4, 4), (24, 6, 6), (4, 1, 1), (28, 8, 7), (1024, 32, 32)]
)
def test_one_two_and_four_devices_share_a_chosen_micro_batch_size(batch_size: int, most: int, expected: int) -> None:
    assert {largest_micro_batch_size(batch_size, devices, most) for devices in (1, 2, 4)} == {expected}


@pytest.mark.parametrize(
    ("batch_size", "world_size", "most", "expected"),
    [(32, 1, 32, 16), (32, 1, 16, 8), (6, 1, 8, 3), (7, 1, 8, 7), (13, 1, 8, 1), (33, 3, 8, 1), (20, 1, 7, 5)],
)
def test_more_devices_may_share_it_where_that_halves_it_at_most(
    batch_size: int, world_size: int, most: int, expected: int
) -> None:
    assert largest_micro_batch_size(batch_size, world_size, most) == expected


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 50))
def test_a_chosen_micro_batch_size_divides_and_is_no_larger_than_allowed(
    accumulation: int, world_size: int, most: int
) -> None:
    size = largest_micro_batch_size(accumulation * world_size, world_size, most)
    assert 1 <= size <= most
    assert accumulation % size == 0


def test_a_batch_that_fits_is_taken_as_it_is() -> None:
    check_batch_arithmetic(96, 12, 4, 2)


def test_a_batch_that_the_devices_cannot_share_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"--batch_size 30 .* 4 devices x 1 node = 4; give --batch_size 28 or 32$"):
        check_batch_arithmetic(30, None, 4, 1)


def test_a_micro_batch_that_does_not_divide_names_the_nearest_of_both() -> None:
    expected = (
        r"--micro_batch_size 8 x 2 devices x 1 node = 16; give --batch_size 16 or 32, or --micro_batch_size 5 or 15$"
    )
    with pytest.raises(UserError, match=expected):
        check_batch_arithmetic(30, 8, 2, 1)


def test_a_micro_batch_above_the_share_of_a_device_names_the_share() -> None:
    with pytest.raises(UserError, match=r"give --batch_size 16, or --micro_batch_size 4$"):
        check_batch_arithmetic(4, 16, 1, 1)
