"""Durations and clock times: what is read, what is refused, and what they are worth in a run."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlib.config.durations import (
    Duration,
    Scale,
    parse_clock,
    parse_duration,
    parse_evaluations,
    to_samples,
    to_steps,
)
from dlib.process.errors import UserError

SCALE = Scale(batch_size=32, tokens_per_sample=Fraction(511), samples_per_epoch=1000)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("2000", 2000, "steps"),
        ("1 step", 1, "steps"),
        ("10k steps", 10_000, "steps"),
        ("10K steps", 10_000, "steps"),
        ("2B tokens", 2 * 10**9, "tokens"),
        ("2.5B tokens", 2_500_000_000, "tokens"),
        ("1.1T tokens", 1_100_000_000_000, "tokens"),
        ("1e9 tokens", 10**9, "tokens"),
        ("50k samples", 50_000, "samples"),
        ("50_000 samples", 50_000, "samples"),
        ("3 epochs", 3, "epochs"),
        ("0.25 epochs", Fraction(1, 4), "epochs"),
        (".5epoch", Fraction(1, 2), "epochs"),
        ("  10 M   tokens ", 10**7, "tokens"),
    ],
)
def test_duration_is_read_exactly(text: str, value: int | Fraction, unit: str) -> None:
    assert parse_duration(text, "--training_goal") == Duration(Fraction(value), unit)


@pytest.mark.parametrize(
    "text",
    ["", "steps", "ten steps", "10 parsecs", "10 m steps", "1,5 epochs", "5%", "1e999 steps", "nan", "inf steps"],
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"--training_goal: .* is not a duration: write for example 2000"):
        parse_duration(text, "--training_goal")


@pytest.mark.parametrize("text", ["0", "0 steps", "-1 steps", "-3 epochs", "0.0 epochs"])
def test_zero_and_negative_durations_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--training_goal: .* must be more than zero: write for example"):
        parse_duration(text, "--training_goal")


def test_zero_is_taken_where_nothing_at_all_has_a_meaning() -> None:
    for text in ("0", "0%", "0 epochs"):
        duration = parse_duration(text, "--warmup", interval=True, allow_zero=True)
        assert to_steps(duration, SCALE, total_steps=100) == 0


@pytest.mark.parametrize("text", ["0.5 steps", "1.5 tokens", "0.1k steps1", "2.0001k samples"])
def test_a_part_of_a_step_token_or_sample_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--training_goal: "):
        parse_duration(text, "--training_goal")


def test_percentages_are_intervals_only() -> None:
    assert parse_duration("2.5%", "--eval_interval", interval=True) == Duration(Fraction(5, 2), "percent")
    assert parse_duration("5 percent", "--eval_interval", interval=True).unit == "percent"
    with pytest.raises(UserError, match="more than the whole"):
        parse_duration("101%", "--eval_interval", interval=True)
    with pytest.raises(UserError, match="is not a percentage"):
        parse_duration("5k%", "--eval_interval", interval=True)


def test_a_duration_beyond_all_counters_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="more than can be counted"):
        parse_duration("1e99 tokens", "--training_goal")


@given(st.integers(1, 10**6), st.sampled_from(["steps", "tokens", "samples", "epochs"]), st.sampled_from("kMB"))
def test_suffix_multiplies_exactly(number: int, unit: str, suffix: str) -> None:
    factor = {"k": 10**3, "M": 10**6, "B": 10**9}[suffix]
    assert parse_duration(f"{number}{suffix} {unit}", "--flag").value == number * factor


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_users_mistake(text: str) -> None:
    with contextlib.suppress(UserError):
        assert parse_duration(text, "--flag", interval=True).value > 0


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        ("100 steps", 3200),
        ("50 samples", 50),
        ("3 epochs", 3000),
        ("0.0001 epochs", 1),
        ("1 token", 1),
        ("511 tokens", 1),
        ("512 tokens", 2),
        ("5110 tokens", 10),
    ],
)
def test_goal_in_samples_is_rounded_up(text: str, samples: int) -> None:
    assert to_samples(parse_duration(text, "--training_goal"), SCALE) == samples


def test_a_percentage_is_no_goal() -> None:
    with pytest.raises(ValueError, match="percent"):
        to_samples(Duration(Fraction(5), "percent"), SCALE)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("7", 7),
        ("320 samples", 10),
        ("47 samples", 1),
        ("48 samples", 2),  # one step and a half, rounded up
        ("1 sample", 1),
        ("16352 tokens", 1),
        ("163520 tokens", 10),
        ("1 epoch", 31),
        ("10%", 20),
        ("0.1%", 1),
        ("100%", 200),
    ],
)
def test_interval_in_steps_is_rounded_to_the_nearest(text: str, steps: int) -> None:
    assert to_steps(parse_duration(text, "--eval_interval", interval=True), SCALE, total_steps=200) == steps


@given(st.integers(1, 10**6), st.integers(1, 4096), st.integers(1, 10**7))
def test_steps_of_a_goal_in_steps_come_back(steps: int, batch_size: int, samples_per_epoch: int) -> None:
    scale = Scale(batch_size, Fraction(127), samples_per_epoch)
    samples = to_samples(Duration(Fraction(steps), "steps"), scale)
    assert to_steps(Duration(Fraction(samples), "samples"), scale, total_steps=steps) == steps


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("11:30:00", 41_400),
        ("00:00:01", 1),
        ("1:00:00", 3600),
        ("100:00:00", 360_000),
        ("2-00:00:00", 172_800),
        ("1-23:59:59", 172_799),
    ],
)
def test_clock_time_is_read_as_seconds(text: str, seconds: int) -> None:
    assert parse_clock(text, "--max_time") == seconds


@pytest.mark.parametrize("text", ["45:00", "0", "1:60:00", "1:00:60", "1-24:00:00", "00:00:00", "-1:00:00", "noon"])
def test_an_ambiguous_or_impossible_clock_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"--max_time: .*11:30:00"):
        parse_clock(text, "--max_time")


def test_a_bare_number_for_a_clock_time_is_refused_with_what_its_minutes_are() -> None:
    with pytest.raises(UserError, match=r"--time: '90' is not a time: .* for example 01:30:00 for 90 minutes"):
        parse_clock("90", "--time")


@pytest.mark.parametrize(("text", "count"), [("5 evaluations", 5), ("1 evaluation", 1), (" 12evaluations", 12)])
def test_patience_is_a_number_of_evaluations(text: str, count: int) -> None:
    assert parse_evaluations(text, "--early_stopping") == count


@pytest.mark.parametrize("text", ["5", "0 evaluations", "5 steps", "-1 evaluations", "9" * 99 + " evaluations", ""])
def test_anything_else_is_no_patience(text: str) -> None:
    with pytest.raises(UserError, match=r'^--early_stopping: .*"5 evaluations"'):
        parse_evaluations(text, "--early_stopping")
