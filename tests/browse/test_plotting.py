"""Curves: read from runs, drawn in the terminal and into files."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.browse.curves import Curve, plot_lines, read_curves
from dlib.browse.tables import resampled, sparkline
from dlib.process.errors import UserError
from tests.launching import ROOT
from tests.runs.folders import call, done, refused, write_run


def test_curves_stand_over_steps_tokens_or_hours_of_training(tmp_path: Path) -> None:
    run = write_run(tmp_path, losses={10: 3.0, 20: 2.0, 40: 1.0})
    train, dev = read_curves([run], [], "step")
    assert (train.metric, dev.metric, dev.ys) == ("train/loss", "dev/loss", [3.0, 2.0, 1.0])
    assert dev.xs == [10, 20, 40]
    assert read_curves([run], [], "tokens")[0].xs == [1000, 2000, 4000]
    assert read_curves([run], [], "hours")[0].xs == pytest.approx([100 / 3600, 200 / 3600, 400 / 3600])


def test_an_evaluation_between_two_logged_steps_stands_between_them(tmp_path: Path) -> None:
    run = write_run(tmp_path, losses={10: 3.0, 20: 2.0})
    lines = run.metrics.read_text().splitlines()
    run.metrics.write_text(
        "\n".join([lines[0], '{"step": 15, "dev/loss": 2.5}', lines[1], '{"step": 25, "dev/loss": 1}', ""])
    )
    assert read_curves([run], ["dev/loss"], "tokens")[0].xs == [1000, 1500, 2000, 2000]


def test_what_performance_recorded_can_be_drawn_too(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert read_curves([run], ["performance/tokens_per_second"], "step")[0].ys == [10.0] * 3


def test_runs_of_the_same_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / place) for place in ("a", "b")]
    assert {curve.run for curve in read_curves(runs, [], "step")} == {str(run.root) for run in runs}


def test_a_run_without_a_metric_has_no_curve_and_one_that_nobody_has_is_told(tmp_path: Path) -> None:
    runs = [write_run(tmp_path), write_run(tmp_path, "second")]
    runs[1].metrics.write_text('{"step": 1, "train/loss": 2.0}\n')
    assert [(c.run, c.metric) for c in read_curves(runs, ["dev/loss"], "step")] == [("first", "dev/loss")]
    with pytest.raises(UserError, match="--metric dev/los: no run recorded it: did you mean dev/loss"):
        read_curves(runs, ["dev/los"], "step")
    with pytest.raises(UserError, match="--x tokens: run 'second' did not record it"):
        read_curves(runs, [], "tokens")
    for run in runs:
        run.metrics.unlink()
        run.performance.unlink()
    with pytest.raises(UserError, match="no optimizer step is recorded"):
        read_curves(runs, [], "step")


def test_a_plot_of_text_has_a_mark_for_each_curve_where_its_values_are() -> None:
    curves = [Curve("a", "loss", [0.0, 1000.0], [1.0, 5.0]), Curve("b", "loss", [0.0, 1000.0], [5.0, math.nan])]
    lines = plot_lines(curves, "step", 60, log=False)
    assert lines[0] == "         5 |o" + " " * 46 + "*"
    assert lines[15] == "         1 |*"
    assert lines[17].split() == ["0", "1,000", "step"]
    assert [line.split() for line in lines[18:]] == [["*", "a", "loss"], ["o", "b", "loss"]]
    assert max(map(len, lines)) <= 60


def test_a_plot_of_text_says_what_stands_where_curves_meet() -> None:
    curves = [Curve("a", "loss", [0.0, 1.0], [1.0, 2.0]), Curve("b", "loss", [0.0, 1.0], [1.0, 3.0])]
    lines = plot_lines(curves, "step", 60, log=False)
    assert lines[15] == "         1 |:"
    assert lines[-1].split() == [":", "several", "of", "them"]


def test_a_metric_may_be_named_by_its_end_where_no_other_one_ends_so(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert [curve.metric for curve in read_curves([run], ["tokens", "dev/loss"], "step")] == [
        "train/tokens",
        "dev/loss",
    ]
    with pytest.raises(UserError, match="--metric: 'loss' may be dev/loss or train/loss: write which"):
        read_curves([run], ["loss"], "step")


def test_a_logarithmic_plot_leaves_out_what_has_no_logarithm() -> None:
    curve = Curve("a", "loss", [0.0, 1.0, 2.0, 3.0], [1.0, 10.0, 100.0, 0.0])
    rows = [row for row, line in enumerate(plot_lines([curve], "step", 60, log=True)[:16]) if "*" in line]
    assert rows[1] - rows[0] in (7, 8)
    with pytest.raises(UserError, match="no value is finite and more than zero"):
        plot_lines([Curve("a", "loss", [0.0], [-1.0])], "step", 60, log=True)


def test_a_sparkline_keeps_peaks_in_means_and_marks_what_is_not_finite() -> None:
    assert sparkline([1, 2, 3]) == "▁▅█"
    assert sparkline([2, 2]) == "▁▁"
    assert sparkline([1, math.nan, 3]) == "▁?█"
    assert sparkline([]) == ""
    assert resampled([1, 1, 1, 5], 2) == [1, 3]


def test_an_output_without_blocks_gets_plain_letters(tmp_path: Path) -> None:
    write_run(tmp_path)
    result = call("show", "first", "--out_dir", tmp_path, encoding="ascii")
    assert result.status == 0
    assert "#_+" in result.stdout


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_a_figure_is_written_whole_with_its_labels(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_run(tmp_path)
    write_run(tmp_path, "second", losses={10: 4.0, 20: 1.0})
    figure = tmp_path / f"curves.{ending}"
    assert done("plot", "first", "second", "--out_dir", tmp_path, "-o", figure, "--log") == f"wrote {figure}\n"
    start = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[ending]
    assert figure.read_bytes().startswith(start)
    if ending == "svg":
        text = figure.read_text()
        for word in ("optimizer step", "loss (nats)", "first, train/loss", "second, dev/loss"):
            assert word in text
    before = figure.read_bytes()
    done("plot", "first", "second", "--out_dir", tmp_path, "-o", figure, "--log")
    assert figure.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_figure_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_run(tmp_path)
    assert "give a file that ends in one of" in refused("plot", "first", "--out_dir", tmp_path, "-o", "curves.doc")
    (tmp_path / "x.png").mkdir()
    assert "that is a folder" in refused("plot", "first", "--out_dir", tmp_path, "-o", tmp_path / "x.png")
    assert "there is no folder" in refused("plot", "first", "--out_dir", tmp_path, "-o", tmp_path / "none" / "x.png")


def test_without_matplotlib_it_is_told_what_to_do(tmp_path: Path) -> None:
    write_run(tmp_path)
    script = (
        "import sys; sys.modules['matplotlib'] = None; sys.argv = ['runs.py', *sys.argv[1:]]; import runs;"
        "from dlib.process.errors import run_script; run_script(runs.main)"
    )
    command = [sys.executable, "-c", script, "plot", "first", "--out_dir", str(tmp_path), "-o", "x.png"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert "pip install matplotlib" in result.stderr
