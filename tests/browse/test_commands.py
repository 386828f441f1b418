"""`runs.py` as a user types it: quick, quiet when it is cut off, and right on runs that really trained."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer

from dlib.process.errors import BROKEN_PIPE_STATUS
from dlib.runs.folder import RunFolder
from tests.launching import ROOT, Place, train
from tests.runs.folders import call, done, names, refused, write_run

HEAVY = {"torch", "transformers", "lightning", "numpy", "matplotlib", "rich", "omegaconf", "yaml", "fsspec", "filelock"}


@pytest.fixture(scope="module")
def trained(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two runs that trained, `first` and `second`."""
    scratch = tmp_path_factory.mktemp("trained")
    for name, rate in (("first", "1e-2"), ("second", "1e-3")):
        flags = ["--training_goal", "6", "--eval_interval", "2", "--save_interval", "2", "--learning_rate", rate]
        result = train([*session_place.arguments(name, *flags), "--out_dir", str(scratch / "runs")], scratch / "output")
        assert result.status == 0, result.stderr
    return scratch / "runs"


def test_every_command_answers_on_runs_that_trained(trained: Path, tmp_path: Path) -> None:
    here = ("--out_dir", trained)
    assert sorted(names(done("list", *here).splitlines())) == ["first", "second"]
    assert names(done("list", "--filter", "name=s*", "--filter", "state=finished", *here).splitlines()) == ["second"]
    shown = done("show", "first", *here)
    assert "dev/loss" in shown
    assert "roberta-tiny" in shown
    assert "optim.learning_rate" in done("compare", "first", "second", *here)
    assert "+  learning_rate: 0.001" in done("diff", "first", "second", *here)
    assert "* first train/loss" in done("plot", "first", "second", *here)
    assert done("plot", "first", "--x", "hours", "--metric", "dev/loss", *here).count("*") >= 3
    assert "best" in done("checkpoints", "first", *here)
    assert "2 runs" in done("report", "-o", tmp_path / "report.html", *here)
    assert '["dev/loss",""]' in (tmp_path / "report.html").read_text()


def test_what_is_exported_loads_as_the_model_of_the_run(trained: Path, tmp_path: Path) -> None:
    done("export", "first", tmp_path / "model", "--out_dir", trained)
    best = trained / "first" / "checkpoints" / "best" / "model"
    ours = AutoModelForMaskedLM.from_pretrained(tmp_path / "model").state_dict()
    theirs = AutoModelForMaskedLM.from_pretrained(best).state_dict()
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    text = "the old keeper opened a long letter"
    tokens = [AutoTokenizer.from_pretrained(place)(text).input_ids for place in (tmp_path / "model", best)]
    assert tokens[0] == tokens[1]


def test_a_run_that_moved_through_an_archive_goes_on_as_if_nothing_had_happened(
    session_place: Place, trained: Path, tmp_path: Path
) -> None:
    stopped = RunFolder(tmp_path / "here" / "first")
    shutil.copytree(trained / "first", stopped.root, symlinks=True)
    stopped.remove_checkpoint(6)
    for link in ("last", "best"):
        stopped.point(link, 4)
    stopped.write_status("preempted", 4, 6)
    done("export", stopped.root, tmp_path / "first.tar.gz", "--full")
    done("import", tmp_path / "first.tar.gz", "--out_dir", tmp_path / "there", "--name", "moved")
    flags = ["--training_goal", "6", "--eval_interval", "2", "--save_interval", "2"]
    there = ["--out_dir", str(tmp_path / "there")]
    result = train([*session_place.arguments("moved", *flags), *there], tmp_path / "output")
    assert (result.status, "goes on after step 4" in result.stderr) == (0, True), result.stderr
    moved = RunFolder(tmp_path / "there" / "moved")
    assert moved.metrics.read_bytes() == (trained / "first" / "metrics.jsonl").read_bytes()


def test_listing_imports_nothing_that_takes_time(tmp_path: Path) -> None:
    write_run(tmp_path, state="running")
    command = [sys.executable, "-X", "importtime", "runs.py", "list", "--filter", "age<1d", "--out_dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "dlib.runs.registry" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize(
    "command", ["list", "show", "compare", "diff", "plot", "report", "export", "import", "drop", "checkpoints"]
)
def test_no_command_imports_what_trains(command: str, tmp_path: Path) -> None:
    write_run(tmp_path)
    write_run(tmp_path, "second")
    done("export", "first", tmp_path / "run.tar", "--full", "--out_dir", tmp_path)
    words = {
        "compare": ["first", "second"],
        "diff": ["first", "second"],
        "export": ["first", str(tmp_path / "model")],
        "import": [str(tmp_path / "run.tar"), "--name", "third"],
        "drop": ["first", "--yes", "--purge"],
        "report": ["-o", str(tmp_path / "report.html")],
        "list": [],
    }.get(command, ["first"])
    script = (
        "import sys, runs; runs.main();"
        "print(sorted(sys.modules.keys() & {'torch', 'transformers', 'lightning', 'numpy'}), file=sys.stderr)"
    )
    arguments = [sys.executable, "-c", script, command, *words, "--out_dir", str(tmp_path)]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "[]\n")


def test_json_is_an_object_a_line(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_run(tmp_path, "second").status.unlink()
    objects = [
        json.loads(line) for line in done("list", "--json", "--sort", "name", "--out_dir", tmp_path).splitlines()
    ]
    assert [(run["name"], run["state"], run["dev_loss"]) for run in objects] == [
        ("first", "finished", 2.0),
        ("second", "damaged", 2.0),
    ]
    assert done("list", "--json", "--filter", "step>100", "--out_dir", tmp_path) == ""


def test_what_is_wrong_is_said_below_the_table(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_run(tmp_path, "broken").status.unlink()
    (tmp_path / "thesis").mkdir()
    lines = done("list", "--sort", "name", "--out_dir", tmp_path).splitlines()
    assert names(lines) == ["broken", "first", "thesis"]
    assert lines[-2:] == [
        "broken is damaged: status.json is missing or damaged",
        "thesis is foreign: no run of this program",
    ]


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "run-1"], ["plot", "run-1"]], ids=" ".join)
def test_a_reader_that_goes_away_ends_it_quietly(words: list[str], tmp_path: Path) -> None:
    for number in range(3):
        write_run(tmp_path, f"run-{number}")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "runs.py", *words, "--out_dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (BROKEN_PIPE_STATUS, "")


def test_the_workspace_is_named_for_every_command_alike(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert done("checkpoints", "first", "--out-dir", tmp_path) == done("checkpoints", run.root)
    assert "--out_dir" in refused("list", "--out_dir", tmp_path / "none")
    assert "no run 'frist' in" in refused("show", "frist", "--out_dir", tmp_path)
    assert call("reproduce", "first", "--out_dir", tmp_path).status == 2
