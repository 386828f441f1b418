"""A sweep file in its ways of saying what is varied, and one line with its place for each mistake."""

import json
from pathlib import Path

import pytest

from dlib.launch.sweep_file import SweepFile
from dlib.process.errors import UserError


def written(folder: Path, text: str, name: str = "rates.yml") -> SweepFile:
    """The file of this content."""
    path = folder / name
    path.write_text(text)
    return SweepFile(path)


def test_a_list_of_settings_is_a_sweep(tmp_path: Path) -> None:
    settings = [{"learning_rate": 1e-3, "batch_size": 8}, {"optim": {"learning_rate": 3e-3}}]
    for indent in (None, 2, "\t"):
        sweep = written(tmp_path, json.dumps(settings, indent=indent), "rates.json").sweep()
        assert sweep.name == "rates"
        assert sweep.own == [
            {"optim.learning_rate": "0.001", "batch.batch_size": "8"},
            {"optim.learning_rate": "0.003"},
        ]


def test_all_sections_are_combined_over_the_files_and_settings_below(tmp_path: Path) -> None:
    text = """
name: all
config_path: base.yml
settings: {training_goal: 400, optim: {schedule: constant}}
points: [{seed: 1}, {seed: 2}]
zip: {model: [a, b], batch_size: [64, 16]}
grid: {learning_rate: [1e-3, 3e-3]}
random: {weight_decay: {from: 0, to: 0.1}, max_length: [16, 32]}
draws: 3
draw_seed: 7
"""
    sweep = written(tmp_path, text).sweep()
    assert (sweep.name, sweep.config_paths) == ("all", [tmp_path / "base.yml"])
    assert sweep.settings == {"durations.training_goal": "400", "optim.schedule": "constant"}
    assert len(sweep.own) == 2 * 2 * 2 * 3
    assert {len(point) for point in sweep.own} == {6}


def test_repeats_are_points_with_further_seeds(tmp_path: Path) -> None:
    sweep = written(tmp_path, "grid: {learning_rate: [1e-3, 3e-3]}\nrepeat: 3").sweep()
    assert [point.settings.get("run.seed") for point in sweep.points(seed=1)] == [None, None, "2", "2", "3", "3"]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("grid:\n  learning_rate: [1e-3]\n  optim.lerning_rate: [1]", 3, "did you mean optim.learning_rate?"),
        ("grid:\n  lr: [1e-3]", 2, "unknown argument: write optim.learning_rate"),
        ("grid:\n  optim:\n    learning_rat: [1]", 3, "did you mean optim.learning_rate?"),
        ("learning_rate: [1e-3]", 1, "write it below one of points, zip, grid, random or settings"),
        ("gird: {learning_rate: [1]}", 1, "a sweep has no such key: did you mean grid?"),
        ("grid:\n  learning_rate: 1e-3", 2, "write a list of values, not '1e-3'"),
        ("grid:\n  learning_rate: []", 2, "write a list of values"),
        ("repeat: 2\ngrid: {learning_rate: null}", 2, "write a list of values, not None"),
        ("repeat: 2\npoints:", 2, "write a list of settings"),
        ("repeat: 2\npoints: {seed: 1}", 2, "write a list of settings"),
        ("repeat: 2\npoints: 3", 2, "write a list of settings"),
        ("grid: 3", 1, "this must be a mapping of arguments to values"),
        ("zip:\n  seed: [1, 2]\n  batch_size: [8]", 3, "1 values, and run.seed has 2: they go together"),
        ("zip: {seed: [1]}\ngrid:\n  seed: [1]", 3, "zip varies it, too"),
        ("grid: {seed: [1, 2]}\nrepeat: 2", 2, "the seed is varied, too"),
        ("grid: {batch_size: [8]}\nrepeat: no", 2, "repeat must be a number from 1 on"),
        ("random: {learning_rate: {from: 0, to: 1}}", 1, "draws must be a number from 1 on"),
        ("draws: 3", 1, "there is nothing to draw: write random"),
        ("random:\n  learning_rate: {from: 0, to: 1, scale: log}\ndraws: 3", 2, "a log scale begins above 0"),
        ("random:\n  learning_rate: {from: 1, to: 0}\ndraws: 3", 2, "from must be below to"),
        ("random:\n  batch_size: {from: 1.5, to: 3}\ndraws: 3", 2, "from and to must be whole numbers"),
        ("random:\n  learning_rate: {low: 1.5, to: 3}\ndraws: 3", 2, "or a range, {from: 1e-4"),
        ("random:\n  schedule: {from: 1, to: 3}\ndraws: 3", 2, "this is no number: write a list of values"),
        ("grid:\n  name: [a, b]", 2, "sweep.py names the runs"),
        ("settings:\n  trust_remote_code: true\ngrid: {seed: [1, 2]}", 2, "a file cannot allow code to run"),
        ("- {learning_rate: 1e-3}\n- {}", 2, "this must be a mapping"),
        ("- {learning_rate: 1e-3}\n-\n  sed: 3", 3, "did you mean run.seed?"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        written(tmp_path, text).sweep()
    assert str(error.value).startswith(f"{tmp_path / 'rates.yml'}, line {line}: ")
    assert told in str(error.value)


@pytest.mark.parametrize("text", ["", "3", "[]", "a"])
def test_what_is_no_sweep_at_all_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"this is no sweep|write a list of settings"):
        written(tmp_path, text).sweep()


def test_a_name_that_cannot_name_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rates\.yml: name: 'a/b' cannot name a folder"):
        written(tmp_path, "name: a/b\ngrid: {seed: [1]}").sweep()


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("grid:\n  learning_rate: [1e-3, fast]", 2, "grid.learning_rate: 'fast' is not a number"),
        ("grid:\n  schedule: [cosine, sine]", 2, "grid.schedule: 'sine' is none of"),
        ("random:\n  learning_rate: {from: -1, to: 1}\ndraws: 1", 2, "random.learning_rate: -1.0 is out of range"),
        ("settings:\n  batch_size: none\ngrid: {seed: [1, 2]}", 2, "settings.batch_size: 'none' is not a whole number"),
        ("- seed: 1\n- seed: 1\n  max_length: 1.5", 3, "points.max_length: '1.5' is not a whole number"),
    ],
)
def test_a_wrong_value_is_told_with_its_line(text: str, line: int, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        written(tmp_path, text).check([], {})
    assert str(error.value).startswith(f"{tmp_path / 'rates.yml'}, line {line}: {told}")
