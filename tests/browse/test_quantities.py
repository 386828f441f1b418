"""Arguments and metrics as columns, orders and filters of runs, and their means over seeds."""

import json
import math
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs
from dlib.browse.quantities import arguments_of
from dlib.config.fields import FIELDS, value_of
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import BestMetric, encode
from tests.runs.folders import RECORD, done, names, refused, write_run

COMMIT = "fdf30dc0123456789"


def arguments(seed: int, rate: float) -> ExperimentArgs:
    """Arguments that differ in two."""
    default = ExperimentArgs()
    return replace(
        default,
        run=replace(default.run, seed=seed),
        optim=replace(default.optim, learning_rate=rate, schedule="constant"),
    )


def add_numbers(run: RunFolder, **numbers: float) -> None:
    """Puts numbers into the best record of a run, `_` in their names for `/`."""
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    records[1] |= {name.replace("_", "/"): value for name, value in numbers.items()}
    run.metrics.write_text(
        "".join(json.dumps({name: encode(value) for name, value in record.items()}) + "\n" for record in records)
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two rates with two seeds each, and a folder that is no run."""
    for name, seed, rate, loss, accuracy in (
        ("low-1", 1, 1e-5, 2.0, 0.4),
        ("low-2", 2, 1e-5, 2.2, 0.6),
        ("high-1", 1, 1e-2, 1.5, 0.9),
        ("high-2", 2, 1e-2, 1.9, 0.1),
    ):
        run = write_run(tmp_path, name, losses={10: 3.0, 20: loss}, args=arguments(seed, rate))
        add_numbers(run, dev_accuracy=accuracy, mine_noise=accuracy * 10)
    (tmp_path / "thesis").mkdir()
    return tmp_path


def listed(workspace: Path, *flags: str) -> list[str]:
    return names(done("list", *flags, "--out_dir", workspace).splitlines())


def test_columns_show_arguments_and_metrics(workspace: Path) -> None:
    flags = ("--columns", "learning_rate,seed", "--columns", "mine/noise")
    lines = done("list", *flags, "--out_dir", workspace)
    assert lines == done("list", "--columns", "learning_rate", "seed,", "mine/noise", "--out_dir", workspace)
    rows = {line.split()[0]: line.split()[-3:] for line in lines.splitlines() if line}
    assert rows["name"] == ["learning_rate", "seed", "mine/noise"]
    assert rows["low-2"] == ["1e-05", "2", "6"]
    assert rows["high-1"] == ["0.01", "1", "9"]
    assert "thesis" in rows


def test_json_has_the_columns(workspace: Path) -> None:
    text = done(
        "list", "--json", "--columns", "optim.learning_rate,best", "--filter", "name=low-1", "--out_dir", workspace
    )
    assert json.loads(text)["columns"] == {"optim.learning_rate": 1e-5, "best": 2.0}


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--sort", "learning_rate"], ["low-1", "low-2", "high-1", "high-2", "thesis"]),
        (["--sort", "learning_rate", "--reverse"], ["high-1", "high-2", "low-1", "low-2", "thesis"]),
        (["--sort", "dev/accuracy"], ["high-2", "low-1", "low-2", "high-1", "thesis"]),
        (["--sort", "best"], ["high-1", "high-2", "low-1", "low-2", "thesis"]),
        (["--sort", "name", "--filter", "learning_rate>1e-3"], ["high-1", "high-2"]),
        (["--sort", "name", "--filter", "learning_rate=1e-5", "--filter", "state=finished"], ["low-1", "low-2"]),
        (["--sort", "name", "--filter", "learning_rate!=1e-5"], ["high-1", "high-2"]),
        (["--sort", "name", "--filter", "schedule=const*,wsd", "--filter", "seed=2"], ["high-2", "low-2"]),
        (["--sort", "name", "--filter", "dev/accuracy>=0.6", "--filter", "loss<2"], ["high-1"]),
    ],
    ids=" ".join,
)
def test_runs_are_ordered_and_chosen_by_arguments_and_metrics(
    flags: list[str], found: list[str], workspace: Path
) -> None:
    assert listed(workspace, *flags) == found


def test_best_is_the_metric_that_a_run_names(workspace: Path) -> None:
    for path in workspace.glob("*-*"):
        RunFolder(path).write_status("finished", 20, 20, best=BestMetric("dev/accuracy", highest=True))
    assert listed(workspace, "--sort", "best") == ["high-1", "low-2", "low-1", "high-2", "thesis"]
    assert listed(workspace, "--filter", "best>0.5", "--sort", "name") == ["high-1", "low-2"]


def columns(workspace: Path, *flags: str) -> list[str]:
    """The heads of the columns behind those that are always there."""
    return re.split("  +", done("list", *flags, "--out_dir", workspace).splitlines()[0])[6:]


def test_what_runs_are_ordered_and_chosen_by_is_shown_under_its_name(workspace: Path) -> None:
    for path in workspace.glob("low-*"):
        RunFolder(path).write_status("finished", 20, 20, best=BestMetric("dev/accuracy", highest=True))
    assert columns(workspace, "--sort", "best", "--reverse") == ["best dev/loss", "best dev/accuracy"]
    assert columns(workspace, "--sort", "best", "--filter", "name!=low-*") == ["best dev/loss"]
    assert columns(workspace, "--filter", "best<0.5") == ["best dev/accuracy"]
    assert columns(workspace, "--filter", "learning_rate>1e-9", "--columns", "seed") == ["seed", "learning_rate"]
    assert columns(workspace, "--sort", "loss", "--filter", "step>1", "--filter", "schedule=constant") == []
    header, low, _ = done("list", "--mean", "--sort", "best", "--out_dir", workspace).splitlines()
    assert "  n  best dev/accuracy  deviation" in header
    assert low.split()[5:8] == ["2", "0.5", "0.1414"]


def test_a_metric_is_meant_by_the_end_of_its_name(workspace: Path) -> None:
    assert listed(workspace, "--sort", "accuracy") == ["high-2", "low-1", "low-2", "high-1", "thesis"]
    assert columns(workspace, "--columns", "noise", "tokens") == ["mine/noise", "train/tokens"]
    assert listed(workspace, "--filter", "accuracy>=0.6", "--sort", "name") == ["high-1", "low-2"]
    add_numbers(RunFolder(workspace / "low-1"), dev_books_accuracy=0.5)
    told = refused("list", "--sort", "accuracy", "--out_dir", workspace)
    assert told == "error: --sort: 'accuracy' may be dev/accuracy or dev/books/accuracy: write which"


def test_a_metric_that_the_best_record_lacks_is_the_newest(tmp_path: Path) -> None:
    run = write_run(tmp_path, losses={10: 3.0, 20: 2.0, 30: 2.5})
    with run.metrics.open("a") as file:
        file.write('{"step": 40, "mine": 7}\n{"step": 50, "train/loss": 1.0}\n')
    line = done("list", "--columns", "mine,train/loss", "--out_dir", tmp_path).splitlines()[1]
    assert line.split()[-2:] == ["7", "3"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--columns", "lerning_rate"],
            "'lerning_rate' is neither an argument nor a metric of these runs: did you mean optim.learning_rate?",
        ),
        (["--columns", "lr"], "write optim.learning_rate"),
        (["--sort", "dev/acuracy"], "did you mean dev/accuracy?"),
        (["--filter", "learning_rate>high"], "'high' is not a number"),
        (["--filter", "mine/noise=much"], "'much' is not a number"),
    ],
    ids=str,
)
def test_a_word_that_means_nothing_is_told(flags: list[str], told: str, workspace: Path) -> None:
    run = RunFolder(workspace / "low-1")
    run.metrics.write_text(run.metrics.read_text().replace('"train/tokens"', '"train/learning_rate"'))
    assert told in refused("list", *flags, "--out_dir", workspace)


def test_a_filter_never_drops_a_run_whose_arguments_cannot_be_read(workspace: Path) -> None:
    (workspace / "low-1" / "config.yml").write_text("{")
    assert listed(workspace, "--filter", "learning_rate!=0.01") == ["low-2"]


def test_arguments_are_read_as_the_run_reads_them(tmp_path: Path) -> None:
    default = ExperimentArgs()
    args = replace(default, tracking=replace(default.tracking, wandb_group="a: 'b'\n\noptim: 3"))
    folder = write_run(tmp_path, args=args)
    assert arguments_of(folder) == {key: value_of(args, key) for key in FIELDS}
    folder.config.write_text("run: {seed: 3}\n")
    assert (arguments_of(folder, "run") or {})["run.seed"] == 3
    assert (arguments_of(folder) or {})["optim.learning_rate"] == default.optim.learning_rate


def test_the_mean_is_over_runs_that_differ_in_their_seed_only(workspace: Path) -> None:
    flags = ["--mean", "--sort", "loss", "--columns", "learning_rate,seed,dev/accuracy"]
    lines = done("list", *flags, "--out_dir", workspace).splitlines()
    assert lines[0].split() == [
        *("runs", "n", "loss", "deviation", "learning_rate", "seed", "n", "dev/accuracy", "deviation")
    ]
    deviation = f"{statistics.stdev([1.5, 1.9]):.4g}"
    assert lines[1].split() == [*("high-1,", "high-2", "2", "1.7", deviation, "0.01", "1,", "2", "2", "0.5", "0.5657")]
    assert lines[2].split()[:4] == ["low-1,", "low-2", "2", "2.1"]
    assert len(lines) == 3


def test_a_seed_that_diverged_puts_its_mean_last(workspace: Path) -> None:
    add_numbers(RunFolder(workspace / "high-1"), dev_loss=math.inf)
    add_numbers(RunFolder(workspace / "high-2"), dev_loss=math.nan)
    lines = done("list", "--mean", "--sort", "loss", "--out_dir", workspace).splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["low-1,", "low-2", "2", "2.1"],
        ["high-1,", "high-2", "2", "nan"],
    ]


def test_means_as_json(workspace: Path) -> None:
    write_run(workspace, "alone", losses={10: 1.0}, args=arguments(1, 0.5))
    text = done("list", "--mean", "--sort", "loss", "--columns", "seed", "--json", "--out_dir", workspace)
    alone, high, low = map(json.loads, text.splitlines())
    assert alone == {"runs": ["alone"], "loss": {"n": 1, "mean": 1.0, "deviation": None}, "seed": [1]}
    assert math.isclose(high["loss"]["deviation"], statistics.stdev([1.5, 1.9]))
    assert low["loss"]["n"] == 2


def test_what_a_mean_hides_is_said_below_it(tmp_path: Path) -> None:
    git = {**RECORD["git"], "commit": COMMIT}
    changed = {"code": {**RECORD["code"], "diff": "uncommitted.diff"}}
    write_run(tmp_path, "a", args=arguments(1, 0.1), record={"git": git})
    write_run(tmp_path, "b", args=arguments(2, 0.1), record={"git": git, **changed}, state="failed")
    write_run(tmp_path, "c", args=arguments(3, 0.1), record={"hashes": {"training text": "2" * 64}})
    lines = done("list", "--mean", "--sort", "name", "--out_dir", tmp_path).splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == ["a, b", "c"]
    assert lines[4:] == [
        "b is failed, and counts as it is: --filter state=finished leaves it out",
        "a, b: the code differs, too: fdf30dc012, fdf30dc012+",
    ]
