"""Commands on many runs: chosen by filters, with what cannot be done told and left as it was."""

from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from tests.runs.folders import call, done, held, refused, write_run

Words = list[str | Path]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two finished runs, a failed one, a damaged one, and a folder that is no run."""
    for name, loss in (("low", 1.0), ("high", 2.0)):
        write_run(tmp_path / "runs", name, losses={10: 3.0, 20: loss, 30: 2.5, 40: 2.6})
    write_run(tmp_path / "runs", "bad", state="failed")
    write_run(tmp_path / "runs", "torn").status.unlink()
    (tmp_path / "runs" / "thesis").mkdir()
    (tmp_path / "runs" / "thesis" / "a.tex").touch()
    return tmp_path / "runs"


def steps(workspace: Path, name: str) -> list[int]:
    return [step for step, _ in RunFolder(workspace / name).whole_checkpoints()]


def test_a_filter_chooses_what_is_compared_and_drawn(workspace: Path) -> None:
    here = ("--out_dir", workspace)
    header = done("compare", "--filter", "state=finished", "--filter", "loss<5", *here).splitlines()[0]
    assert header.split() == ["results", "high", "low"]
    drawn = done("plot", "--metric", "dev/loss", "--filter", "state=finished", *here)
    marks = [line.split() for line in drawn.splitlines()[-3:]]
    assert marks == [["*", "high", "dev/loss"], ["o", "low", "dev/loss"], [":", "several", "of", "them"]]


def test_names_and_filters_choose_what_both_do(workspace: Path) -> None:
    flags: Words = ["--filter", "loss<1.5", "--metric", "dev/loss", "--out_dir", workspace]
    assert done("plot", "low", "high", *flags).splitlines()[-1].split()[1:] == ["low", "dev/loss"]


def test_what_is_no_whole_run_is_left_out_and_told(workspace: Path) -> None:
    answer = call("plot", "--filter", "name=*", "--out_dir", workspace)
    assert answer.status == 0
    assert answer.stderr.splitlines() == [
        "thesis is left out: no run of this program",
        "torn is left out: status.json is missing or damaged",
    ]


@pytest.mark.parametrize("command", ["compare", "plot", "checkpoints"])
def test_a_filter_that_no_run_meets_is_told(command: str, workspace: Path) -> None:
    told = refused(command, "--filter", "loss<0", "--out_dir", workspace)
    assert told == f"error: {command}: no run in {workspace} meets --filter 'loss<0': see runs.py list"
    assert "name runs, or choose them with --filter" in refused(command, "--out_dir", workspace)


@pytest.mark.parametrize("command", ["compare", "plot", "checkpoints", "drop"])
def test_a_pattern_in_place_of_a_name_is_told_where_it_stands(command: str, workspace: Path) -> None:
    told = refused(command, "l*", "--out_dir", workspace)
    assert told == "error: no run 'l*'; for all of such names write --filter 'name=l*'"


def test_flags_may_stand_before_the_runs(workspace: Path) -> None:
    assert "low" in done("compare", "--json", "low", "high", "--out_dir", workspace)
    assert "moved 2 runs" in done("drop", "--out_dir", workspace, "--yes", "low", "high")


def test_each_run_is_exported_below_a_folder_or_by_a_pattern(workspace: Path, tmp_path: Path) -> None:
    flags: Words = ["--filter", "state=finished", "--out_dir", workspace]
    told = done("export", *flags, tmp_path / "models")
    assert told.splitlines() == [
        f"exported step 20 of run '{name}' to {tmp_path}/models/{name}" for name in ("high", "low")
    ]
    assert (tmp_path / "models" / "low" / "model.safetensors").read_text() == "20"
    done("export", "--full", tmp_path / "{name}.tar.gz", *flags)
    assert "imported run 'low'" in done("import", tmp_path / "low.tar.gz", "--out_dir", tmp_path / "there")


def test_an_export_that_fails_keeps_no_other_back(workspace: Path, tmp_path: Path) -> None:
    taken = tmp_path / "models" / "high"
    taken.mkdir(parents=True)
    (taken / "mine").touch()
    answer = call("export", tmp_path / "models", "--filter", "state=finished", "--out_dir", workspace)
    assert answer.status == 2
    assert answer.stderr.splitlines() == [
        f"error: high: {taken} exists: name another destination, or remove it first",
        "error: 1 of 2 runs could not be exported, see above",
    ]
    assert (tmp_path / "models" / "low" / "config.json").exists()


def test_an_export_of_many_into_one_place_is_refused(workspace: Path, tmp_path: Path) -> None:
    flags: Words = ["--filter", "state=finished", "--out_dir", workspace]
    assert "it is one file: give a folder, or {name} in its name" in refused("export", tmp_path / "a.tar", *flags)
    assert "name a run, or choose some with --filter" in refused("export", "low", tmp_path / "a", *flags)
    assert not (tmp_path / "a").exists()


def test_checkpoints_of_many_runs_are_listed_by_run(workspace: Path) -> None:
    lines = done("checkpoints", "--filter", "state=finished", "--out_dir", workspace).splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["high", "step", "10", "20", "30", "40"]
    assert lines[6:8] == ["", "low"]


def test_checkpoints_of_many_runs_are_removed_after_asking_once(workspace: Path) -> None:
    flags: Words = ["--keep_newest", "1", "--filter", "state=finished", "--out_dir", workspace]
    answer = call("checkpoints", *flags, answer="n\n")
    assert answer.stdout.splitlines() == ["high  10, 30", "low   10, 30"]
    assert "Remove 4 checkpoints of 2 runs (32 B) for good?" in answer.stderr
    assert "nobody answers: give --yes" in refused("checkpoints", *flags)
    assert steps(workspace, "low") == [10, 20, 30, 40]
    assert done("checkpoints", *flags, "--yes").splitlines()[-1] == "removed 4 checkpoints (32 B)"
    assert (steps(workspace, "low"), steps(workspace, "high")) == ([20, 40], [20, 40])
    assert "nothing to remove" in done("checkpoints", *flags)


def test_a_step_that_one_of_many_runs_must_keep_is_refused_for_all(workspace: Path) -> None:
    flags: Words = ["--out_dir", workspace, "--yes"]
    told = refused("checkpoints", "--delete", "10", "20", "--filter", "state=finished", *flags)
    assert "--delete 20: it is the best or the last of run 'high'" in told
    assert steps(workspace, "high") == steps(workspace, "low") == [10, 20, 30, 40]


def test_a_live_run_that_a_filter_chose_keeps_its_checkpoints(workspace: Path) -> None:
    live = write_run(workspace, "live", losses={10: 3.0, 20: 2.0, 30: 2.5})
    with held(live):
        told = done("checkpoints", "--keep_newest", "1", "--filter", "name=l*", "--out_dir", workspace, "--yes")
        assert told.splitlines() == ["live stays: its state is running", "removed 2 checkpoints (16 B)"]
    assert steps(workspace, "live") == [10, 20, 30]
