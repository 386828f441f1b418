"""`runs.py report`: one page that holds what it shows, asks for nothing else, and runs nothing of a run's texts."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlib.args import ExperimentArgs
from dlib.browse.curves import Curve
from dlib.report.page import page_of
from dlib.report.thinning import MOST_POINTS, thinned
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import BestMetric
from tests.runs.folders import call, done, refused, write_run

HOSTILE = "a <script>alert(1)<!-- & 'b'"
WRITTEN = "</script><script>alert(2)</script>"


def arguments(seed: int, rate: float, schedule: str = "wsd") -> ExperimentArgs:
    default = ExperimentArgs()
    return replace(
        default,
        run=replace(default.run, seed=seed),
        optim=replace(default.optim, learning_rate=rate, schedule=schedule, weight_decay=0.5),
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two rates with two seeds each, of which one is called like markup and one failed."""
    for name, seed, rate, loss in (
        ("low-1", 1, 1e-5, 2.0),
        (HOSTILE, 2, 1e-5, 2.2),
        ("high-1", 1, 1e-2, 1.5),
        ("high-2", 2, 1e-2, 1.9),
    ):
        state = "failed" if name == "high-2" else "finished"
        write_run(tmp_path / "runs", name, losses={10: 3.0, 20: loss}, args=arguments(seed, rate), state=state)
    return tmp_path / "runs"


def page(workspace: Path, *flags: str | Path) -> str:
    """The page that the command writes."""
    output = workspace.parent / "report.html"
    assert f"wrote {output}: " in done("report", *flags, "-o", output, "--out_dir", workspace)
    return output.read_text(encoding="utf-8")


def data_of(text: str) -> dict[str, Any]:
    """The data that a page holds, as a browser reads it: up to the first end of a script."""
    found: dict[str, Any] = json.loads(text.partition('id="data">')[2].partition("</script")[0])
    return found


def column(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The cells of a column, by run."""
    place = [head for head, _ in data["columns"]].index(name)
    return {run["name"]: run["cells"][place] for run in data["runs"]}


def write_outputs(run: RunFolder, step: int, rows: Sequence[Mapping[str, Any]], kind: str = "") -> None:
    """Writes a result of an evaluation, with texts that the model wrote for it."""
    text = json.dumps({"step": step, "metrics": {"loss": 1.5, "bleu": "NaN"}})
    run.ledger.write(f"step-{step:08d}", kind, text, outputs="".join(json.dumps(row) + "\n" for row in rows))


def test_the_table_has_results_and_the_arguments_that_differ(workspace: Path) -> None:
    data = data_of(page(workspace))
    assert [head for head, _ in data["columns"]][:5] == ["dev/loss", "state", "step", "run.seed", "optim.learning_rate"]
    assert column(data, "dev/loss")["high-1"] == [1.5, "1.5"]
    assert column(data, "optim.learning_rate")[HOSTILE] == [1e-5, "1e-05"]
    assert column(data, "state")["high-2"] == ["failed", "failed"]
    assert column(data, "step")["low-1"] == [20, "20/20"]
    assert ["optim.weight_decay", "0.5"] in data["shared"]
    assert not any(key in ("run.name", "optim.learning_rate") for key, _ in data["shared"])


def test_filters_choose_the_runs_and_the_page_repeats_them(workspace: Path) -> None:
    data = data_of(page(workspace, "--filter", "learning_rate>1e-3", "--filter", "state=finished"))
    assert [run["name"] for run in data["runs"]] == ["high-1"]
    assert data["filters"] == ["learning_rate>1e-3", "state=finished"]
    assert [run["name"] for run in data_of(page(workspace, "low-1", "high-1"))["runs"]] == ["low-1", "high-1"]


def test_curves_have_what_was_recorded(workspace: Path) -> None:
    run = RunFolder(workspace / "low-1")
    run.metrics.write_text(run.metrics.read_text() + '{"step": 30, "train/loss": "NaN", "mine/noise": 7}\n')
    charts = {chart["metric"]: chart for chart in data_of(page(workspace))["charts"]}
    assert list(charts) == ["train/loss", "dev/loss", "mine/noise"]
    assert charts["train/loss"]["lines"][-1] == {
        "run": 3,
        "points": [[10, 4], [20, 3], [30, None]],
        "recorded": 3,
        "broken": 1,
    }
    assert [line["run"] for line in charts["mine/noise"]["lines"]] == [3]
    chosen = data_of(page(workspace, "--metric", "performance/tokens_per_second", "--x", "tokens"))
    assert [chart["metric"] for chart in chosen["charts"]] == ["performance/tokens_per_second"]
    assert chosen["charts"][0]["lines"][0]["points"] == [[1000, 10], [2000, 10]]
    assert chosen["x"] == "tokens"


def test_effects_are_means_over_seeds_against_each_argument_that_varies(workspace: Path) -> None:
    write_run(workspace, "other", losses={20: 1.0}, args=arguments(1, 1e-2, "cosine"))
    data = data_of(page(workspace))
    effects, names = data["effects"], [run["name"] for run in data["runs"]]
    assert effects["arguments"] == ["optim.learning_rate", "optim.schedule"]
    assert "dev/loss" in effects["metrics"]
    found = {frozenset(names[place] for place in group["runs"]): group for group in effects["groups"]}
    high = found[frozenset({"high-1", "high-2"})]
    assert (high["values"], high["whole"]) == ([0.01, "wsd"], False)
    assert high["means"]["dev/loss"] == pytest.approx([2, 1.7, math.sqrt(0.08)])
    assert found[frozenset({"other"})]["means"]["dev/loss"] == [1, 1.0, None]
    assert found[frozenset({"low-1", HOSTILE})]["whole"] is True


def test_samples_are_those_of_the_best_checkpoint(workspace: Path) -> None:
    run = RunFolder(workspace / "low-1")
    write_outputs(run, 10, [{"source": "early"}])
    write_outputs(run, 20, [{"source": f"Satz {number}", "score": 0.5} for number in range(30)], "-test-1a2b")
    data = data_of(page(workspace, "--samples", "2"))
    (sample,) = data["samples"]
    assert (data["runs"][sample["run"]]["name"], sample["step"], sample["what"]) == ("low-1", 20, "test-1a2b")
    assert sample["rows"] == [{"source": "Satz 0", "score": "0.5"}, {"source": "Satz 1", "score": "0.5"}]
    kinds = [(each["step"], each["what"], each["metrics"]["bleu"]) for each in data["evaluations"]]
    assert kinds == [(10, "as in training", ["NaN", "NaN"]), (20, "test-1a2b", ["NaN", "NaN"])]


def test_the_metric_of_the_best_checkpoint_stands_first(workspace: Path) -> None:
    for path in workspace.iterdir():
        RunFolder(path).write_status("finished", 20, 20, best=BestMetric("dev/accuracy", highest=True))
    data = data_of(page(workspace))
    assert data["best"] == {"key": "dev/accuracy", "highest": True}
    assert data["columns"][0] == ["dev/accuracy", ""]


def test_no_text_of_a_run_is_markup(workspace: Path) -> None:
    write_outputs(RunFolder(workspace / "low-1"), 20, [{"hypothesis": WRITTEN}])
    text = page(workspace)
    assert HOSTILE in [run["name"] for run in data_of(text)["runs"]]
    assert data_of(text)["samples"][0]["rows"] == [{"hypothesis": WRITTEN}]
    assert "alert" not in re.sub(r'id="data">[^<>&]*</script>', "", text)
    assert text.count("<script") == text.count("</script>") == 2


def test_a_page_needs_nothing_besides_itself(workspace: Path) -> None:
    text = page(workspace)
    assert "://" not in text
    assert not re.search(r"\b(src|href|import|fetch|XMLHttpRequest|@import|url)\s*[=(]", text)
    assert "default-src 'none'" in text


def test_a_name_that_is_no_text_does_not_keep_a_page_from_being_written() -> None:
    assert "\\ud800" in page_of({"name": "\ud800"})


def test_numbers_that_cannot_be_read_are_told_in_the_row(workspace: Path) -> None:
    run = RunFolder(workspace / "low-1")
    run.metrics.write_text("{\n" + run.metrics.read_text())
    (workspace / "high-1" / "config.yml").write_text("{")
    data = data_of(page(workspace))
    notes = {run["name"]: run["note"] for run in data["runs"]}
    assert "line 1: not a record of metrics" in notes["low-1"]
    assert column(data, "optim.learning_rate")["high-1"] is None
    assert column(data, "dev/loss")["low-1"] is None


def test_runs_that_have_just_begun_have_a_page_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", state="preempted")
    for numbers in (run.metrics, run.performance):
        numbers.unlink()
    data = data_of(page(tmp_path / "runs"))
    assert (data["charts"], data["effects"]["arguments"]) == ([], [])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--filter", "loss<0"], "report: no run in "),
        (["--metric", "dev/los"], "--metric dev/los: no run recorded it: did you mean dev/loss"),
        (["-o", "none/report.html"], "-o none/report.html: there is no folder none"),
        (["--samples", "-1"], "--samples -1: give at least 0"),
        (["nobody"], "no run 'nobody' in"),
    ],
    ids=str,
)
def test_what_cannot_be_shown_is_told_and_nothing_is_written(flags: list[str], told: str, workspace: Path) -> None:
    output = workspace.parent / "report.html"
    place = [] if "-o" in flags else ["-o", str(output)]
    assert told in refused("report", *flags, *place, "--out_dir", workspace)
    assert not output.exists()
    assert "no run in" in refused("report", "-o", output, "--out_dir", workspace / "low-1" / "checkpoints")


def test_a_page_is_replaced_whole(workspace: Path) -> None:
    first = page(workspace)
    assert page(workspace, "--filter", "name=low-1") != first
    assert [path.name for path in workspace.parent.iterdir() if path.is_file()] == ["report.html"]


def test_a_thinned_curve_keeps_its_ends_peaks_and_gaps() -> None:
    ys = [1.0] * 100_000
    ys[31_000], ys[62_000], ys[80_000] = 9.0, -9.0, math.nan
    found = thinned(Curve("run", "loss", list(map(float, range(len(ys)))), ys))
    assert len(found["points"]) <= MOST_POINTS + 2
    assert {(0.0, 1.0), (99_999.0, 1.0), (31_000.0, 9.0), (62_000.0, -9.0), (80_000.0, None)} <= {
        (x, y) for x, y in found["points"]
    }
    assert (found["recorded"], found["broken"]) == (100_000, 1)


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs a browser")
def test_a_browser_draws_it_without_a_word(workspace: Path, tmp_path: Path) -> None:
    write_outputs(RunFolder(workspace / "low-1"), 20, [{"hypothesis": WRITTEN}])
    page(workspace)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    command = ["chromium", *flags, "--enable-logging=stderr", "--dump-dom", f"file://{workspace.parent}/report.html"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    body = result.stdout.partition("<body>")[2].partition('<script type="application/json"')[0]
    assert body.count("<tr") == 2 + 4 + 1 + 1 + 1 + 1 + 2
    assert 'aria-sort="ascending"><button type="button">dev/loss' in body
    assert "a &lt;script&gt;alert(1)&lt;!-- &amp; 'b'" in body
    assert body.count("<figure") == body.count("<svg height") == 3
    assert "CONSOLE" not in result.stderr


def test_it_writes_where_the_user_is(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.parent)
    assert call("report", "--out_dir", workspace).status == 0
    assert (workspace.parent / "report.html").is_file()
