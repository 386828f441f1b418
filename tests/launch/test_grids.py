"""From what a sweep varies to points: all of them, once each, called the same whatever is added later."""

import math
from typing import Any

import pytest

from dlib.config.validation import check_name
from dlib.launch.grids import Range, combinations, drawn, grid, named, repeated, unique, zipped

RATE, SIZE, MODEL = "optim.learning_rate", "batch.batch_size", "model.model"


def test_a_grid_has_every_combination_and_the_last_key_changes_fastest() -> None:
    points = grid({RATE: ["1e-3", "3e-3"], SIZE: ["8", "16", "32"]})
    assert [(point[RATE], point[SIZE]) for point in points] == [
        *(("1e-3", "8"), ("1e-3", "16"), ("1e-3", "32")),
        *(("3e-3", "8"), ("3e-3", "16"), ("3e-3", "32")),
    ]


def test_zipped_lists_go_together() -> None:
    assert zipped({RATE: ["1", "2"], SIZE: ["8", "16"]}) == [{RATE: "1", SIZE: "8"}, {RATE: "2", SIZE: "16"}]


def test_parts_are_combined_with_each_other() -> None:
    points = combinations([zipped({MODEL: ["a", "b"], SIZE: ["8", "16"]}), grid({RATE: ["1", "2", "3"]})])
    assert len(points) == 6
    assert points[1] == {MODEL: "a", SIZE: "8", RATE: "2"}


def test_draws_stay_what_they_are_whatever_is_added() -> None:
    few = drawn({RATE: Range(1e-4, 1e-2, log=True)}, 3, seed=1)
    more = drawn({SIZE: ["8", "16"], RATE: Range(1e-4, 1e-2, log=True)}, 9, seed=1)
    assert [point[RATE] for point in more[:3]] == [point[RATE] for point in few]
    assert few != drawn({RATE: Range(1e-4, 1e-2, log=True)}, 3, seed=2)
    # What this seed has drawn everywhere: runs are called so.
    assert [point[RATE] for point in few] == ["0.001152", "0.0001545", "0.008958"]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_a_range_is_drawn_from_up_to_both_of_its_ends(log: bool, whole: bool) -> None:
    source = Range(1, 6, log, whole)
    numbers = [float(source.at(share / 1000)) for share in range(1000)]
    assert min(numbers) == 1
    assert max(numbers) == pytest.approx(6, abs=0.02)
    assert numbers == sorted(numbers)
    if whole:
        assert {*numbers} == {1, 2, 3, 4, 5, 6}
    elif log:
        assert numbers[500] == pytest.approx(math.sqrt(6), abs=0.01)


def test_a_whole_range_deals_its_numbers_out_evenly() -> None:
    numbers = [Range(1, 4, whole=True).at(share / 1000) for share in range(1000)]
    assert [numbers.count(str(number)) for number in (1, 2, 3, 4)] == [250] * 4


def test_few_values_that_are_drawn_twice_are_one_point() -> None:
    points = unique(drawn({SIZE: ["8", "16"]}, 50, seed=1))
    assert sorted(point[SIZE] for point in points) == ["16", "8"]


def test_more_seeds_leave_the_points_and_names_that_were_there() -> None:
    own = grid({RATE: ["1e-3", "3e-3"]})
    once, thrice = (named("rates", repeated(own, times, seed=5)) for times in (1, 3))
    assert thrice[:2] == once
    assert [point.name for point in thrice[1:4]] == [
        "rates-learning_rate=0.003",
        "rates-learning_rate=0.001-seed=6",
        "rates-learning_rate=0.003-seed=6",
    ]


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        (RATE, "1e-3", "learning_rate=0.001"),
        (RATE, "${optim.decay}", "learning_rate=optim.decay"),
        (SIZE, "8", "batch_size=8"),
        (MODEL, "configs/models/gpt2-tiny", "model=gpt2-tiny"),
        (MODEL, "a b; rm -rf *", "model=a_b_rm_-rf"),
        ("durations.training_goal", "3 epochs", "training_goal=3_epochs"),
        ("checkpoint.extra_steps", ["1", "2"], "extra_steps=1_2"),
        ("data.limit_dev_rows", None, "limit_dev_rows=none"),
        ("tracking.trackers", [], "trackers=empty"),
    ],
)
def test_a_name_says_its_settings_in_letters_that_any_shell_takes(key: str, value: Any, part: str) -> None:
    (point,) = named("s", [{key: value}])
    assert point.name == f"s-{part}"
    check_name(point.name, "name")


def test_points_that_would_be_called_the_same_are_told_apart_and_the_first_keeps_its_name() -> None:
    first, second = named("s", [{MODEL: "a/tiny"}, {MODEL: "b/tiny"}])
    assert first.name == "s-model=tiny"
    assert second.name.startswith("s-model=tiny-")
    assert named("s", [{MODEL: "b/tiny"}])[0].name == "s-model=tiny"


def test_a_very_long_name_is_cut_and_stays_one_of_its_own() -> None:
    points = [{"model.model_overrides": [f"hidden_size={'1' * 150}{number}"]} for number in range(3)]
    names = [point.name for point in named("s", points)]
    assert len({*names}) == 3
    assert all(len(name) == 120 for name in names)


def test_thousands_of_long_names_are_all_different() -> None:
    points = [{"model.model_overrides": [f"hidden_size={'1' * 150}{number}"]} for number in range(20_000)]
    assert len({point.name for point in named("s", points)}) == len(points)
