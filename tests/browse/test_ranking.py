"""`runs.py compare` on the runs of a sweep: points over their seeds, the best first, as text, table and figure."""

import csv
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs
from tests.runs.folders import RECORD, done, refused, write_run

RATES = {"low": "1e-5", "mid": "1e-3", "high": "1e-2"}
LOSSES = {("low", 1): 2.0, ("low", 2): 2.2, ("mid", 1): 1.5, ("mid", 2): 1.9, ("high", 1): 3.0}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A sweep of three rates, two of them with two seeds, and a run beside it."""
    default = ExperimentArgs()
    for (word, seed), loss in LOSSES.items():
        args = replace(
            default,
            run=replace(default.run, seed=seed, sweep="rates"),
            optim=replace(default.optim, learning_rate=float(RATES[word])),
        )
        argv = ["/somewhere/train.py", "--learning_rate", RATES[word], "-n", f"{word}-{seed}"]
        record = {**RECORD, "command": {"argv": argv}}
        write_run(tmp_path / "runs", f"{word}-{seed}", losses={10: 3.5, 20: loss}, args=args, record=record)
    write_run(tmp_path / "runs", "other", args=default)
    return tmp_path / "runs"


def test_the_points_of_a_sweep_are_ranked_over_their_seeds(workspace: Path) -> None:
    lines = done("compare", "--filter", "sweep=rates", "--out_dir", workspace).splitlines()
    assert lines[0].split() == ["learning_rate", "n", "dev/loss", "deviation", "runs"]
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["0.001", "2", "1.7", "0.2828"],
        ["1e-05", "2", "2.1", "0.1414"],
        ["0.01", "1", "3", "-"],
    ]
    assert lines[1].endswith("mid-1, mid-2")
    assert lines[-2:] == ["the best, mid-1:", "  train.py --learning_rate 1e-3 -n mid-1"]


def test_named_runs_are_shown_side_by_side_and_any_runs_as_points_on_request(workspace: Path) -> None:
    side_by_side = done("compare", "mid-1", "mid-2", "--out_dir", workspace)
    assert side_by_side.split()[:3] == ["results", "mid-1", "mid-2"]
    points = done("compare", "--mean", "other", "high-1", "mid-1", "--out_dir", workspace).splitlines()
    assert [line.split()[-1] for line in points[1:4]] == ["mid-1", "other", "high-1"]


def test_a_point_is_one_line_of_a_table_that_other_programs_read(workspace: Path, tmp_path: Path) -> None:
    answer = done("compare", "--filter", "sweep=rates", "-o", tmp_path / "a.csv", "--out_dir", workspace)
    assert answer.splitlines()[-1] == f"wrote {tmp_path / 'a.csv'}"
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [float(row["optim.learning_rate"]) for row in rows] == [1e-3, 1e-5, 1e-2]
    assert [float(row["dev/loss"]) for row in rows] == [1.7, 2.1, 3.0]
    assert [row["dev/loss deviation"] for row in rows][-1] == ""
    objects = done("compare", "--filter", "sweep=rates", "--json", "--out_dir", workspace)
    assert [json.loads(line)["runs"] for line in objects.splitlines()] == [
        ["mid-1", "mid-2"],
        ["low-1", "low-2"],
        ["high-1"],
    ]


def test_a_figure_has_a_panel_for_each_argument_and_repeats_bitwise(workspace: Path, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        done("compare", "--filter", "sweep=rates", "-o", tmp_path / name, "--out_dir", workspace)
    first, second = ((tmp_path / name).read_text() for name in ("a.svg", "b.svg"))
    assert "learning rate" in first
    assert "dev/loss" in first
    assert first == second


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--filter sweep=rates -o a.docx", "give a file that ends in one of"),
        ("--filter sweep=rates -o nowhere/a.csv", "there is no folder nowhere"),
        ("--mean mid-1 mid-2 -o {}/a.svg", "nothing to draw: no argument varies"),
    ],
)
def test_what_cannot_be_written_is_refused(words: str, told: str, workspace: Path, tmp_path: Path) -> None:
    assert told in refused("compare", *shlex.split(words.format(tmp_path)), "--out_dir", workspace)
