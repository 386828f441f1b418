"""Steps within a budget of tokens: each row once an epoch, the same for any number of ranks, found in constant time."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib.args import ObjectiveArgs
from dlib.data.batching import check_token_budget
from dlib.data.buckets import BucketPlan, cut_batches
from dlib.data.mixture import MixedRows
from dlib.data.packing import PackedRows
from dlib.data.steps import EvaluationBatches, TrainingSteps
from dlib.data.token_store import TokenStore
from dlib.objectives import build_objective
from dlib.objectives.objective import Evaluated
from dlib.process.errors import UserError
from dlib.training.evaluation import interleave
from tests.data.costs import times_the_cost
from tests.data.test_lengths import ToldRows
from tests.toys import toy_roles, unequal_rows

ROWS = unequal_rows(60)
MLM = build_objective(ObjectiveArgs(), toy_roles())


def bucket_plan(rows: ToldRows, budget: int, parts: int, epochs: float = 1, seed: int = 1) -> BucketPlan:
    order, edges = cut_batches(rows, budget, parts)
    return BucketPlan(order, edges, budget, parts, max(1, int(epochs * (len(edges) - 1))), seed)


def told_rows(count: int, seed: int, longest: int = 40, sequences: int = 1) -> ToldRows:
    return ToldRows(np.random.default_rng(seed).integers(1, longest + 1, (count, sequences)))


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 80),
    sequences=st.integers(1, 2),
    share=st.integers(80, 400),
    parts=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 9),
)
def test_each_epoch_holds_each_row_once_in_micro_batches_within_their_share(
    count: int, sequences: int, share: int, parts: int, seed: int
) -> None:
    rows = told_rows(count, seed, sequences=sequences)
    plan = bucket_plan(rows, share * parts, parts, epochs=2, seed=seed)
    steps = [plan.step_samples(step) for step in range(plan.total_steps)]
    for epoch in range(2):
        numbers = [ids for epochs, ids in steps if epochs[0] == epoch]
        assert len(numbers) == plan.steps_per_epoch
        assert sorted(np.concatenate(numbers)) == list(range(count))
    for step, (epochs, ids) in enumerate(steps):
        assert plan.samples_before(step) == sum(len(ids) for _, ids in steps[:step])
        alone = plan.micro_batches(step, 0, 1)
        assert np.array_equal(np.concatenate([batch.sample_ids for batch in alone]), ids)
        assert np.array_equal(np.concatenate([batch.epochs for batch in alone]), epochs)
        for batch in alone:
            assert len(batch.sample_ids) * rows.told[batch.sample_ids].max(0, initial=0).sum() <= share
        for world_size in {2, parts} if parts > 1 else ():
            shares = [plan.micro_batches(step, rank, world_size) for rank in range(world_size)]
            assert {len(share) for share in shares} == {parts // world_size}
            together = [batch for share in shares for batch in share]
            assert [batch.index for batch in together] == list(range(parts))
            for one, other in zip(alone, together, strict=True):
                assert np.array_equal(one.sample_ids, other.sample_ids)
    assert plan.total_samples == 2 * count


def test_a_step_is_a_pure_function_whatever_was_asked_before() -> None:
    plan, other = (bucket_plan(told_rows(200, 1), 400, 4, epochs=5) for _ in range(2))
    far = plan.step_samples(plan.total_steps - 1)
    for step in range(plan.total_steps):
        other.step_samples(step)
    for one, two in zip(far, other.step_samples(plan.total_steps - 1), strict=True):
        assert np.array_equal(one, two)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    rows = told_rows(400, 2, longest=3)
    plan, other = bucket_plan(rows, 100, 1, epochs=2), bucket_plan(rows, 100, 1, seed=2)
    epoch = plan.steps_per_epoch
    runs = [
        [plan.step_samples(step)[1] for step in range(epoch)],
        [plan.step_samples(epoch + step)[1] for step in range(epoch)],
        [other.step_samples(step)[1] for step in range(epoch)],
    ]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        same_batches = {frozenset(ids.tolist()) for ids in runs[one]} & {frozenset(ids.tolist()) for ids in runs[two]}
        assert len(same_batches) < 3, "rows of one length meet others"
        same_lengths = sum(rows.told[a].sum() == rows.told[b].sum() for a, b in zip(runs[one], runs[two], strict=True))
        assert same_lengths < epoch, "and batches come in another order"


def test_a_far_step_costs_what_the_first_costs() -> None:
    plan = bucket_plan(told_rows(100_000, 1), 4000, 4, epochs=1000)
    first, last = (partial(plan.micro_batches, step, 0, 1) for step in (0, plan.total_steps - 1))
    assert times_the_cost(last, first) < 5


def test_padding_is_counted_over_an_epoch_and_little() -> None:
    rows = told_rows(20_000, 1)
    plan, padded = bucket_plan(rows, 4096, 4, epochs=2), 0
    for step in range(plan.steps_per_epoch, plan.total_steps):
        for batch in plan.micro_batches(step, 0, 1):
            lengths = rows.told[batch.sample_ids]
            padded += lengths.size * int(lengths.max(initial=0))
    assert plan.padding_share == pytest.approx(1 - rows.told.sum() / padded)
    assert plan.padding_share < 0.005


def test_of_pairs_as_long_as_sentences_are_little_is_padding() -> None:
    draw = np.random.default_rng(1)
    source = np.clip(draw.normal(16, 5, 29_000).round(), 4, 64).astype(int)
    target = np.clip(source + draw.normal(0, 3, 29_000).round(), 4, 64).astype(int)
    rows = ToldRows(np.stack([source, target], axis=1))
    assert bucket_plan(rows, 4096, 1).padding_share < 0.05
    assert bucket_plan(rows, 4096, 4).padding_share < 0.02


def test_a_row_that_does_not_fit_is_refused() -> None:
    rows = told_rows(100, 1, longest=40, sequences=2)
    longest = rows.told.sum(1).max()
    with pytest.raises(
        UserError, match=r"^--max_tokens_per_batch 160: each .* has 40 of them, and a row has \d+; give"
    ):
        cut_batches(rows, 160, 4)
    assert len(cut_batches(rows, longest * 4, 4)[1]) > 1


def test_packed_rows_are_refused(make_store: Callable[[str], TokenStore]) -> None:
    with pytest.raises(UserError, match=r"^--max_tokens_per_batch: packed rows are of one length"):
        cut_batches(PackedRows(make_store("a b"), 16, lead_id=0, keep_tail=False), 160, 1)


def test_texts_without_weights_are_one() -> None:
    assert len(cut_batches(MixedRows(("a", "b"), (told_rows(30, 1), told_rows(20, 2))), 160, 1)[0]) == 50


@pytest.mark.parametrize(("budget", "micro", "devices"), [(4096, None, 4), (4096, 8, 1), (512, None, 1)])
def test_the_rows_that_a_budget_holds_are_shared_as_a_batch_size(budget: int, micro: int | None, devices: int) -> None:
    check_token_budget(budget, 512, micro, devices, 1)


@pytest.mark.parametrize(
    ("budget", "micro", "devices", "told"),
    [
        (500, None, 1, "holds no row of --max_length 512; give at least 512"),
        (4096, None, 3, "holds 8 rows of --max_length 512, no multiple of 3 devices x 1 node = 3; give 3072 or 4608"),
        (4096, 3, None, "holds 8 rows of --max_length 512, no multiple of --micro_batch_size 3; give 3072 or 4608"),
    ],
)
def test_a_budget_that_cannot_be_shared_is_refused(
    budget: int, micro: int | None, devices: int | None, told: str
) -> None:
    with pytest.raises(UserError, match=f"^--max_tokens_per_batch {budget} {told}$"):
        check_token_budget(budget, 512, micro, devices, 1)


def test_the_tensors_of_an_epoch_have_the_padding_that_the_plan_says_and_no_more() -> None:
    plan = BucketPlan(*cut_batches(ROWS, 160, 4), 160, 4, 300, seed=3)
    steps = (TrainingSteps(ROWS, plan, MLM, 0, 1)[step] for step in range(plan.steps_per_epoch))
    items = [item["batch"]["input_ids"] for step in steps for item in step["micro_batches"] if item["counts"]]
    assert ROWS.num_tokens / sum(ids.numel() for ids in items) == pytest.approx(1 - plan.padding_share)
    other = EvaluationBatches(ROWS, MLM, 8, 0, 1)
    assert {other[number][0]["input_ids"].shape[1] % 8 for number in range(len(other))} == {0}


def test_ranks_compute_a_step_together_and_know_its_size() -> None:
    plan = BucketPlan(*cut_batches(ROWS, 160, 4), 160, 4, 30, seed=3)
    for step in range(plan.total_steps):
        alone = TrainingSteps(ROWS, plan, MLM, 0, 1)[step]
        shares = [TrainingSteps(ROWS, plan, MLM, rank, 2)[step] for rank in range(2)]
        together = [item for share in shares for item in share["micro_batches"]]
        for one, other in zip(alone["micro_batches"], together, strict=True):
            assert (one["index"], one["counts"]) == (other["index"], other["counts"])
            assert all(one["batch"][name].equal(other["batch"][name]) for name in one["batch"])
        targets = sum(len(item["batch"]["targets"]) for item in together if item["counts"])
        assert {targets} == {alone["weight"], *(share["weight"] for share in shares)}
        assert sum(item["batch"]["input_ids"].numel() for item in together if item["counts"]) <= 160


@pytest.mark.parametrize("limit", [None, 17])
def test_an_evaluation_takes_rows_of_like_length_and_items_come_back_in_order(limit: int | None) -> None:
    for world_size in (1, 2, 3):
        ranks = [EvaluationBatches(ROWS, MLM, 8, rank, world_size, limit, max_tokens=64) for rank in range(world_size)]
        shares = [[Evaluated({}, batch.tolist()) for batch in rank.batches] for rank in ranks]
        assert interleave(shares, ranks[0].row_order).items == list(range(limit or len(ROWS)))
        for rank in ranks:
            assert all(rank[index][0]["input_ids"].numel() <= 64 for index in range(len(rank)))
