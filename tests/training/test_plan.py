"""The plan: durations in every unit, intervals, and counts that equal a count by hand."""

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from dlib.args import BatchArgs, CheckpointArgs, DurationArgs, ExperimentArgs, OptimArgs, RunArgs, TrackingArgs
from dlib.data.mixture import MixedRows
from dlib.process.errors import UserError
from dlib.training.devices import Devices
from dlib.training.plan import TrainingPlan, kept_checkpoints, make_plan, summarize, told_steps
from tests.toys import ListRows, toy_row

# 100 rows of 20 tokens: at a batch size of 8, 12.5 steps and 2000 tokens an epoch.
ROWS = ListRows([toy_row(20, seed) for seed in range(100)])
DEVICES = Devices("cpu", (0, 0), 1, "32-true", ("CPU process",) * 2)


def arguments(goal: str = "200 steps", **changes: Any) -> ExperimentArgs:
    return ExperimentArgs(
        run=RunArgs(seed=5),
        batch=BatchArgs(batch_size=8, micro_batch_size=2),
        durations=DurationArgs(training_goal=goal, eval_interval=changes.pop("eval_interval", "10%")),
        checkpoint=CheckpointArgs(
            save_interval=changes.pop("save_interval", "10%"),
            extra_steps=changes.pop("extra_steps", []),
            max_checkpoints=changes.pop("max_checkpoints", 2),
        ),
        optim=OptimArgs(**changes),
        tracking=TrackingArgs(log_interval=7),
    )


@pytest.mark.parametrize(
    ("goal", "samples", "steps"),
    [
        ("30", 240, 30),
        ("30 steps", 240, 30),
        ("81 samples", 81, 11),
        ("2k tokens", 100, 13),
        ("2001 tokens", 101, 13),
        ("1 epoch", 100, 13),
        ("0.25 epochs", 25, 4),
        ("3 epochs", 300, 38),
    ],
)
def test_training_goal_in_every_unit(goal: str, samples: int, steps: int) -> None:
    plan = make_plan(arguments(goal), ROWS)
    assert (plan.batches.total_samples, plan.total_steps) == (samples, steps)
    assert plan.batches.seed == 5


@pytest.mark.parametrize(
    ("goal", "samples", "steps"),
    [
        ("31 steps", 310, 31),
        ("81 samples", 90, 9),
        ("2k tokens", 100, 10),
        ("2001 tokens", 110, 11),
        ("3 epochs", 300, 30),
        ("0.25 epochs", 30, 3),
    ],
)
def test_training_goal_in_every_unit_with_a_budget_of_tokens(goal: str, samples: int, steps: int) -> None:
    args = arguments(goal)
    args = replace(
        args,
        batch=BatchArgs(max_tokens_per_batch=200, micro_batch_size=1),
        data=replace(args.data, max_length=100),
        optim=replace(args.optim, warmup="30 samples"),
    )
    plan = make_plan(args, ROWS)  # 10 rows a step in two micro-batches, 10 steps an epoch
    assert (plan.batches.total_samples, plan.total_steps, plan.warmup_steps) == (samples, steps, 3)
    assert told_steps(args) == (31 if "steps" in goal else None)
    text = summarize(args, plan, DEVICES, "x", (1, 1), 1)
    assert (
        "up to 200 tokens a step = 100 in a micro-batch x 2 devices x 1 accumulation; on average 10.0 rows and 200 "
        "tokens; 0.0% of what is computed is padding"
    ) in text
    assert f"{steps} optimizer steps, {samples} samples, {samples * 20:,} tokens" in text


def test_with_weights_and_a_budget_an_epoch_is_still_all_rows_and_the_block_is_told() -> None:
    args, batch = arguments("3 epochs"), BatchArgs(max_tokens_per_batch=200, micro_batch_size=1)
    rows = MixedRows(("a", "b"), (ROWS, ListRows([toy_row(10, seed) for seed in range(50)])), (1, 1))
    # A block has 75 samples of each text: 4 steps of up to 20 short rows, and 8 of up to 10 long ones.
    plan = make_plan(replace(args, batch=batch, data=replace(args.data, max_length=100)), rows)
    assert (plan.batches.total_samples, plan.total_steps, plan.tokens_per_sample) == (450, 36, Fraction(15))
    assert plan.batches.num_samples == 150
    assert plan.batches.describe(2).endswith(
        "on average 12.5 rows and 188 tokens; at most 0.0% of what is computed is padding; "
        "each 12 steps have the texts' shares"
    )


@pytest.mark.parametrize(
    ("interval", "steps"),
    [("15", 15), ("10%", 20), ("0.1%", 1), ("100%", 200), ("80 samples", 10), ("4k tokens", 25), ("2 epochs", 25)],
)
def test_intervals_in_every_unit(interval: str, steps: int) -> None:
    plan = make_plan(arguments(eval_interval=interval, save_interval=interval, warmup=interval, decay=interval), ROWS)
    assert plan.eval_interval_steps == plan.save_interval_steps == plan.warmup_steps == plan.decay_steps == steps


def test_warm_up_may_be_nothing_and_other_intervals_may_not() -> None:
    assert make_plan(arguments(warmup="0"), ROWS).warmup_steps == 0
    with pytest.raises(UserError, match="--eval_interval"):
        make_plan(arguments(eval_interval="0"), ROWS)


def test_extra_steps_outside_the_run_are_refused() -> None:
    for step in (0, 201):
        with pytest.raises(UserError, match=f"--extra_steps {step}: the run has steps 1 to 200"):
            make_plan(arguments(extra_steps=[10, step]), ROWS)
    assert make_plan(arguments(extra_steps=[200, 1]), ROWS).extra_steps == {1, 200}


def test_a_warm_up_and_a_decay_that_overlap_are_refused() -> None:
    told = "--warmup of 150 steps and --decay of 100 do not fit into the run's 200 steps: shorten one"
    with pytest.raises(UserError, match=told):
        make_plan(arguments(schedule="wsd", warmup="150", decay="50%"), ROWS)
    assert make_plan(arguments(schedule="wsd", warmup="100", decay="50%"), ROWS).decay_steps == 100
    assert make_plan(arguments("1", schedule="wsd"), ROWS).total_steps == 1, "each is a step at least"
    assert make_plan(arguments(warmup="150", decay="50%"), ROWS).warmup_steps == 150, "no decay in this schedule"


def test_the_summary_tells_of_intervals_that_are_longer_than_the_run() -> None:
    args = arguments(warmup="201", eval_interval="300")
    text = summarize(args, make_plan(args, ROWS), DEVICES, "x\x1b[31m", (1, 1), 1)
    assert "201 warm-up steps, more than the run has: the peak is never reached" in text
    assert "every 300 steps, 1 in all: at the run's end, which comes first" in text
    assert r"x\x1b[31m" in text
    assert "--decay" not in text


def test_the_summary_tells_of_a_decay_that_the_schedule_has_not() -> None:
    for schedule, is_told in (("linear", True), ("wsd", False)):
        args = arguments(schedule=schedule, decay="60%")
        text = summarize(args, make_plan(args, ROWS), DEVICES, "x", (1, 1), 1)
        assert ("; --decay 60% is for --schedule wsd alone" in text) is is_told


def test_clock_is_read() -> None:
    args = arguments()
    assert make_plan(args, ROWS).max_seconds is None
    timed = replace(args, durations=replace(args.durations, max_time="1-00:00:01"))
    assert make_plan(timed, ROWS).max_seconds == 86401


def random_case(seed: int) -> tuple[ExperimentArgs, TrainingPlan]:
    draw = random.Random(seed)
    total = draw.randint(1, 60)
    args = arguments(
        str(total),
        eval_interval=str(draw.randint(1, 70)),
        save_interval=str(draw.randint(1, 70)),
        extra_steps=[draw.randint(1, total) for _ in range(draw.randint(0, 4))],
        max_checkpoints=draw.choice([-1, 1, 2, 5]),
    )
    return args, make_plan(args, ROWS)


@pytest.mark.parametrize("seed", range(60))
def test_counts_are_those_by_hand(seed: int) -> None:
    _, plan = random_case(seed)
    steps = range(1, plan.total_steps + 1)
    assert plan.num_evaluations == sum(plan.evaluates_after(step) for step in steps)
    assert plan.most_checkpoints == sum(plan.saves_after(step) or plan.evaluates_after(step) for step in steps)
    assert plan.evaluates_after(plan.total_steps)
    assert plan.saves_after(plan.total_steps)
    assert plan.logs_after(1)
    assert plan.logs_after(plan.total_steps)


@pytest.mark.parametrize("seed", range(60))
def test_never_more_checkpoints_stand_than_the_plan_says(seed: int) -> None:
    """Follows the callback's rule: the new one is whole, the links move, the oldest ordinary ones go."""
    args, plan = random_case(seed)
    draw = random.Random(seed)
    limit, best, standing, most = args.checkpoint.max_checkpoints, None, [], 0
    for step in range(1, plan.total_steps + 1):
        is_best = plan.evaluates_after(step) and draw.random() < 0.8
        if not (is_best or plan.saves_after(step)):
            continue
        standing.append(step)
        most = max(most, len(standing))
        best = step if is_best else best
        ordinary = [step for step in standing if step not in plan.extra_steps and step != best]
        if limit >= 0:
            standing = [step for step in standing if step not in ordinary[:-limit]]
    assert most <= kept_checkpoints(args, plan)


def test_summary_says_the_numbers() -> None:
    args = arguments("1000 steps", extra_steps=[3], max_checkpoints=2)
    text = summarize(args, make_plan(args, ROWS), DEVICES, "configs/models/toy", (1_000_000, 900_000), 11_200_000)
    for words in (
        "configs/models/toy, 1,000,000 parameters, 900,000 of them learn",
        "8 sequences a step = 2 micro_batch_size x 2 devices x 2 accumulation",
        "1,000 optimizer steps, 8,000 samples, 160,000 tokens, 80.00 epochs of 100 rows",
        "adamw, linear from 0.0001, 60 warm-up steps",
        "every 100 steps, 11 in all",
        "11 MB each, up to 5 at a time: 56 MB",
    ):
        assert words in text
