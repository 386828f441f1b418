"""The list of runs: what is there, in whatever condition, and nothing is written by looking."""

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dlib.process.errors import UserError
from dlib.runs import liveness
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import is_held, kept_still
from dlib.runs.registry import RunSummary, find_run, list_runs, summarize, tree_bytes
from tests.runs.folders import held, snapshot, write_run


def only(workspace: Path) -> RunSummary:
    (summary,) = list_runs(workspace)
    return summary


def set_status(run: RunFolder, **values: object) -> None:
    status = json.loads(run.status.read_text())
    run.status.write_text(json.dumps({**status, **values}))


def test_a_run_is_told_with_the_dev_loss_of_its_best_checkpoint_and_the_size_of_all_files(tmp_path: Path) -> None:
    run = write_run(tmp_path, losses={10: 3.0, 20: 2.0, 30: 2.5})
    summary = only(tmp_path)
    assert (summary.name, summary.state, summary.step, summary.total_steps) == ("first", "finished", 30, 30)
    assert summary.dev_loss == 2.0
    sizes = [path.lstat().st_size for path in run.root.rglob("*") if path.is_symlink() or path.is_file()]
    assert summary.size_bytes == sum(sizes) == tree_bytes(run.root)
    assert abs(summary.time - time.time()) < 60


def test_dotted_names_and_plain_files_are_nobodys_runs(tmp_path: Path) -> None:
    write_run(tmp_path, ".trash")
    (tmp_path / "notes.txt").write_text("")
    assert list_runs(tmp_path) == []


def test_a_run_that_a_process_holds_is_running_and_killed_once_nobody_does(tmp_path: Path) -> None:
    run = write_run(tmp_path, state="running")
    with held(run) as process:
        assert only(tmp_path).state == "running"
        assert only(tmp_path).is_live
        process.kill()
        process.wait()
        assert only(tmp_path).state == "killed"
        assert not only(tmp_path).is_live


def test_a_live_or_killed_run_is_told_with_the_step_of_its_newest_record(tmp_path: Path) -> None:
    run = write_run(tmp_path, state="running")
    with run.metrics.open("a") as file:
        file.write('{"step": 37, "train/loss": 1.0}\n{"step": 38, "tra')
    assert only(tmp_path).step == 37


def test_a_run_of_another_host_is_unknown_where_its_lock_may_be_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_status(write_run(tmp_path, state="running"), host="another")
    monkeypatch.setattr(liveness, "_LOCAL_FILE_SYSTEMS", set[str]())
    assert only(tmp_path).state == "unknown"
    set_status(RunFolder(tmp_path / "first"), host=socket.gethostname())
    assert only(tmp_path).state == "killed"


def test_a_run_of_another_container_is_killed_on_a_disk_that_one_host_alone_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_status(write_run(tmp_path, state="running"), host="another")
    monkeypatch.setattr(liveness, "_is_on_local_disk", lambda path: True)
    assert only(tmp_path).state == "killed"


def test_listing_writes_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, "finished")
    write_run(tmp_path, "killed", state="running")
    write_run(tmp_path, "without-lock", state="running").lock.unlink()
    before = snapshot(tmp_path)
    assert [run.state for run in list_runs(tmp_path)] == ["finished", "killed", "killed"]
    assert snapshot(tmp_path) == before


def test_a_run_begins_though_somebody_asks_for_its_lock_at_that_moment(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    asking = threading.Event()

    def ask() -> None:
        with kept_still(run):
            asking.set()
            time.sleep(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    asking.wait(10)
    with run.hold():
        assert is_held(run)
    thread.join()
    assert not is_held(run)


def test_a_live_run_cannot_be_kept_still(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    with run.hold(), pytest.raises(UserError, match="run 'first' is live"), kept_still(run):
        pass


def remove_status(run: RunFolder) -> None:
    run.status.unlink()


def tear_status(run: RunFolder) -> None:
    run.status.write_text('{"state": "finis')


def mistype_status(run: RunFolder) -> None:
    set_status(run, step="ten")


def empty_config(run: RunFolder) -> None:
    run.config.write_text("")


def remove_record(run: RunFolder) -> None:
    run.record.unlink()


def leave_lock_alone(run: RunFolder) -> None:
    shutil.rmtree(run.root)
    run.root.mkdir()
    run.lock.touch()


def make_foreign(run: RunFolder) -> None:
    shutil.rmtree(run.root)
    run.root.mkdir()
    (run.root / "thesis.tex").write_text("")


def make_empty(run: RunFolder) -> None:
    shutil.rmtree(run.root)
    run.root.mkdir()


def make_checkpoints_a_file(run: RunFolder) -> None:
    shutil.rmtree(run.checkpoints)
    run.checkpoints.write_text("")


def make_lock_a_folder(run: RunFolder) -> None:
    set_status(run, state="running")
    run.lock.unlink()
    run.lock.mkdir()


def write_noise_into_metrics(run: RunFolder) -> None:
    run.metrics.write_bytes(b'\xff\x00{}\n[]\n{"step": null}\n' * 9)


def point_best_elsewhere(run: RunFolder) -> None:
    run.best.unlink()
    run.best.symlink_to("/etc")


def write_a_strange_time(run: RunFolder) -> None:
    set_status(run, time="yesterday")


@pytest.mark.parametrize(
    ("damage", "state", "note"),
    [
        (remove_status, "damaged", "status.json is missing or damaged"),
        (tear_status, "damaged", "status.json is missing or damaged"),
        (mistype_status, "damaged", "status.json is missing or damaged"),
        (empty_config, "damaged", "config.yml is empty"),
        (remove_record, "damaged", "record.json is missing"),
        (leave_lock_alone, "half-written", "ended before its config.yml was written"),
        (make_foreign, "foreign", "no run of this program"),
        (make_empty, "foreign", "no run of this program"),
        (make_checkpoints_a_file, "finished", ""),
        (make_lock_a_folder, "killed", ""),
        (write_noise_into_metrics, "finished", ""),
        (point_best_elsewhere, "finished", ""),
        (write_a_strange_time, "finished", ""),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_whatever_stands_there_is_listed_and_named(
    damage: Callable[[RunFolder], None], state: str, note: str, tmp_path: Path
) -> None:
    damage(write_run(tmp_path))
    summary = only(tmp_path)
    assert (summary.state, summary.note) == (state, note)


def test_links_that_lead_nowhere_and_in_a_circle_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    run = write_run(tmp_path / "elsewhere")
    (tmp_path / "linked").symlink_to(run.root)
    assert [run.name for run in list_runs(tmp_path)] == ["elsewhere", "linked"]
    assert list_runs(tmp_path)[1].state == "finished"


def test_a_folder_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    summary = summarize(RunFolder(tmp_path / "gone"))  # as one that is removed while it is listed
    assert (summary.state, summary.note) == ("damaged", "cannot be read: No such file or directory")


def test_a_run_is_found_by_its_name_or_path_and_the_workspace_is_asked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    for word in ("first", "runs/first", "./runs/first/", str(run.root)):
        assert find_run(word, Path("runs")).root.resolve() == run.root
    write_run(tmp_path, "first")
    assert find_run("first", Path("runs")).root.resolve() == run.root
    monkeypatch.chdir(run.root)
    assert find_run(".", Path("runs")).name == "first"


@pytest.mark.parametrize(("word", "told"), [("secnd", "no run 'secnd' in "), ("runs/none", "no run 'runs/none'")])
def test_a_run_that_is_not_there_is_told(word: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        find_run(word, tmp_path)


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    make_foreign(write_run(tmp_path))
    with pytest.raises(UserError, match="'first' is no run"):
        find_run("first", tmp_path)


def test_a_workspace_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--out_dir .*none: No such file or directory"):
        list_runs(tmp_path / "none")


def test_asking_a_lock_that_is_a_pipe_does_not_wait(tmp_path: Path) -> None:
    run = write_run(tmp_path, state="running")
    run.lock.unlink()
    os.mkfifo(run.lock)
    assert only(tmp_path).state == "killed"
