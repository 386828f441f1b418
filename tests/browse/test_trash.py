"""Dropping runs: asked for, reversible, never a live run and never anything outside the workspace."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from tests.launching import ROOT
from tests.runs.folders import call, done, held, refused, write_run


def trashed(workspace: Path) -> list[str]:
    trash = workspace / ".trash"
    return sorted(path.name.partition("-2")[0] for path in trash.iterdir()) if trash.is_dir() else []


def test_a_dropped_run_is_in_the_trash_and_moving_it_back_is_all_it_takes(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    files = {path.relative_to(run.root) for path in run.root.rglob("*")}
    assert "moved 1 run" in done("drop", "first", "--out_dir", tmp_path, "--yes")
    assert not run.root.exists()
    assert "no runs in" in done("list", "--out_dir", tmp_path)
    (moved,) = (tmp_path / ".trash").iterdir()
    moved.rename(run.root)
    assert {path.relative_to(run.root) for path in run.root.rglob("*")} == files
    assert "finished" in done("list", "--out_dir", tmp_path)


def test_it_asks_and_a_no_or_no_answer_leaves_everything(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    result = call("drop", "first", "--out_dir", tmp_path, answer="n\n")
    assert result.status == 0
    assert "Move 1 run (" in result.stderr
    assert "first" in result.stdout
    assert "nobody answers: give --yes" in refused("drop", "first", "--out_dir", tmp_path)
    assert run.status.exists()
    done("drop", "first", "--out_dir", tmp_path, answer="y\n")
    assert not run.root.exists()


def test_two_runs_of_one_name_keep_apart_in_the_trash(tmp_path: Path) -> None:
    for _ in range(3):
        write_run(tmp_path)
        done("drop", "first", "--out_dir", tmp_path, "--yes")
    assert trashed(tmp_path) == ["first"] * 3


def test_a_live_run_is_refused_and_then_none_of_those_named_goes(tmp_path: Path) -> None:
    other, live = write_run(tmp_path, "other"), write_run(tmp_path, "live")
    with held(live) as process:
        message = refused("drop", "other", "live", "--out_dir", tmp_path, "--yes")
        assert message.startswith(f"error: run 'live' is live: process {process.pid} on host ")
        assert other.root.exists()
        assert "live stays: its state is running" in done("drop", "--filter", "name=*", "--out_dir", tmp_path, "--yes")
    assert live.root.exists()
    assert trashed(tmp_path) == ["other"]


def test_a_run_whose_status_hides_that_it_is_held_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, state="running")
    with held(run):
        run.write_status("finished", 1, 1)
        assert "is in use by process" in refused("drop", "first", "--out_dir", tmp_path, "--yes")
    assert run.root.exists()


def test_filters_choose_in_bulk_and_foreign_folders_always_stay(tmp_path: Path) -> None:
    write_run(tmp_path, "good")
    write_run(tmp_path, "bad", state="failed")
    write_run(tmp_path, "dead", state="running")
    write_run(tmp_path, "damaged").status.unlink()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    done("drop", "--filter", "state=failed,killed,damaged", "--out_dir", tmp_path, "--yes")
    assert trashed(tmp_path) == ["bad", "damaged", "dead"]
    assert "thesis stays: it is no run" in done("drop", "--filter", "name=*", "--out_dir", tmp_path, "--yes")
    assert "'thesis' is no run" in refused("drop", "thesis", "--out_dir", tmp_path, "--yes")
    assert (tmp_path / "thesis" / "chapter.tex").exists()
    assert "no run to drop" in done("drop", "--filter", "state=failed", "--out_dir", tmp_path, "--yes")


def test_nothing_outside_the_workspace_is_touched(tmp_path: Path) -> None:
    inside, outside = tmp_path / "runs", tmp_path / "elsewhere"
    run = write_run(outside)
    inside.mkdir()
    (inside / "linked").symlink_to(run.root)
    assert "'linked' is a link to another place" in refused("drop", "linked", "--out_dir", inside, "--yes")
    assert "is not in" in refused("drop", run.root, "--out_dir", inside, "--yes")
    assert "is not in" in refused("drop", inside / ".." / "elsewhere" / "first", "--out_dir", inside, "--yes")
    assert "linked stays: it is a link" in done("drop", "--filter", "state=finished", "--out_dir", inside, "--yes")
    assert run.status.exists()
    assert (inside / "linked").is_symlink()


def test_a_trash_that_is_a_link_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "runs", tmp_path / "outside"
    run = write_run(inside)
    outside.mkdir()
    (outside / "thesis").mkdir()
    (inside / ".trash").symlink_to(outside)
    assert "is no folder of the workspace" in refused("drop", "first", "--out_dir", inside, "--yes")
    assert "is no folder of the workspace" in refused("drop", "--purge", "--out_dir", inside, "--yes")
    assert run.root.exists()
    assert (outside / "thesis").exists()


def test_purging_asks_and_removes_links_without_following_them(tmp_path: Path) -> None:
    inside, outside = tmp_path / "runs", tmp_path / "outside"
    run = write_run(inside)
    outside.mkdir()
    (outside / "thesis").write_text("")
    (run.root / "link").symlink_to(outside)
    done("drop", "first", "--out_dir", inside, "--yes")
    (inside / ".trash" / "link").symlink_to(outside)
    call("drop", "--purge", "--out_dir", inside, answer="no\n")
    assert trashed(inside) == ["first", "link"]
    assert "removed 2" in done("drop", "--purge", "--out_dir", inside, answer="y\n")
    assert trashed(inside) == []
    assert (outside / "thesis").exists()
    assert "the trash is empty" in done("drop", "--purge", "--out_dir", inside)


def test_purging_leaves_an_import_that_is_still_unpacking(tmp_path: Path) -> None:
    write_run(tmp_path)
    staged = RunFolder(tmp_path / ".trash" / "importing-second-1")
    with held(staged):
        done("drop", "first", "--purge", "--out_dir", tmp_path, "--yes")
        assert staged.root.exists()
    assert trashed(tmp_path) == ["importing-second-1"]


def test_a_run_in_a_workspace_that_is_reached_through_a_link_can_be_dropped(tmp_path: Path) -> None:
    run = write_run(tmp_path / "disk")
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    done("drop", tmp_path / "runs" / "first", "--out_dir", tmp_path / "runs", "--yes")
    assert not run.root.exists()
    assert trashed(tmp_path / "disk") == ["first"]


def test_a_run_named_twice_is_dropped_once(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert "moved 1 run " in done("drop", "first", tmp_path / "first", "--out_dir", tmp_path, "--yes")


def test_without_a_name_a_filter_or_purge_nothing_is_done(tmp_path: Path) -> None:
    assert "name runs, or choose them with --filter" in refused("drop", "--out_dir", tmp_path, "--yes")


def test_an_interrupt_at_the_question_is_quiet_and_leaves_everything(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    command = [sys.executable, "runs.py", "drop", "first", "--out_dir", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        question = process.stderr.read(len("Move 1 run"))
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(30) == 130
    assert question == "Move 1 run"
    assert "Traceback" not in rest
    assert run.root.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    write_run(tmp_path)
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused("drop", "first", "--out_dir", tmp_path, "--yes")
    tmp_path.chmod(0o700)
    shutil.rmtree(tmp_path)


def test_purging_leaves_what_a_process_may_hold_and_takes_plain_files(tmp_path: Path) -> None:
    (tmp_path / ".trash" / "unknown").mkdir(parents=True)
    (tmp_path / ".trash" / "unknown" / ".lock").symlink_to(".lock")  # in a circle: it cannot be asked
    (tmp_path / ".trash" / "note").write_text("")
    told = done("drop", "--purge", "--out_dir", tmp_path, "--yes")
    assert "unknown stays: a process may hold it" in told
    assert "removed 1" in told
    assert trashed(tmp_path) == ["unknown"]
