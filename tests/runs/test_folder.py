"""The run folder: whole or not there, held by one process, found again by its names."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlib.process.durable import write_text_atomically
from dlib.process.errors import UserError
from dlib.runs.finding import resolve_model_folder
from dlib.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
HOLD_FOR_EVER = """
import sys, time
from pathlib import Path
from dlib.runs.folder import RunFolder
with RunFolder(Path(sys.argv[1])).hold():
    print("held", flush=True)
    time.sleep(600)
"""
DIE_WHILE_PUBLISHING = """
import os, signal, sys
from pathlib import Path
from dlib.runs.folder import RunFolder

def write(folder):
    (folder / "state.ckpt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

with (run := RunFolder(Path(sys.argv[1]))).hold():
    run.publish_checkpoint(20, write)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "wiki")
    folder.root.mkdir(parents=True)
    return folder


@pytest.fixture
def holder(run: RunFolder) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLD_FOR_EVER, str(run.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def durable_operations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A list that fills with name and path of each `os.fsync` and `os.rename`, which are done all the same."""
    done: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        done.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def noted_rename(old: Path, new: Path) -> None:
        done.append(("rename", str(new)))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    if hasattr(pathlib, "_normal_accessor"):  # where pathlib of Python 3.10 keeps functions of its own
        monkeypatch.setattr(pathlib._normal_accessor, "rename", noted_rename)
    return done


def write_model(folder: Path, text: str = "{}") -> None:
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(text)
    (folder / "state.ckpt").write_text(text)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell which file is flushed")
def test_all_of_a_checkpoint_and_its_numbers_reach_the_disk_before_its_name_does(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.checkpoints.mkdir(parents=True)
    run.metrics.write_text("{}\n")
    done = durable_operations(monkeypatch)
    run.publish_checkpoint(7, write_model)
    final = run.checkpoint(7)
    renamed = done.index(("rename", str(final)))
    beside = final.with_name(f".writing-{final.name}")
    parts = [beside, beside / "model", beside / "model" / "config.json", beside / "state.ckpt"]
    assert {("fsync", str(path)) for path in (*parts, run.metrics, run.root)} <= {*done[:renamed]}
    assert done[renamed + 1 :] == [("fsync", str(run.checkpoints))]


def test_a_run_held_by_a_live_process_is_refused_with_its_pid_and_host(
    run: RunFolder, holder: "subprocess.Popen[str]"
) -> None:
    with pytest.raises(UserError) as refusal, run.hold():
        pass
    message = f"run 'wiki' is in use by process {holder.pid} on host {socket.gethostname()}; "
    assert str(refusal.value) == message + "wait for it or choose another --name"


def test_a_killed_holder_frees_the_run(run: RunFolder, holder: "subprocess.Popen[str]") -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with run.hold():
        status = run.read_status()
    assert status is not None
    assert (status.state, status.pid) == ("created", os.getpid())


def test_a_run_cannot_be_held_twice_by_one_process_but_again_after_release(run: RunFolder) -> None:
    with run.hold(), pytest.raises(UserError, match=f"in use by process {os.getpid()}"), RunFolder(run.root).hold():
        pass
    with run.hold():
        pass


def test_holding_a_run_keeps_its_state_and_step(run: RunFolder) -> None:
    run.write_status("failed", 40, 100, "no room")
    with run.hold():
        status = run.read_status()
    assert status is not None
    assert (status.state, status.step, status.total_steps, status.reason) == ("failed", 40, 100, "no room")


def test_status_tells_state_steps_time_and_process(run: RunFolder) -> None:
    run.write_status("running", 3, 10)
    written = json.loads(run.status.read_text())
    assert written.pop("time").endswith("+00:00")
    process = {"pid": os.getpid(), "host": socket.gethostname()}
    best = {"best_by": "dev/loss", "best_is_highest": False}
    assert written == {"state": "running", "step": 3, "total_steps": 10, **process, "reason": None, **best}


def test_a_status_without_a_reason_is_read_as_older_versions_wrote_it(run: RunFolder) -> None:
    run.write_status("failed", 3, 10, "no room")
    old = {name: value for name, value in json.loads(run.status.read_text()).items() if name != "reason"}
    run.status.write_text(json.dumps(old))
    status = run.read_status()
    assert status is not None
    assert (status.state, status.reason) == ("failed", None)


def test_an_unknown_state_is_not_written(run: RunFolder) -> None:
    with pytest.raises(ValueError, match="asleep"):
        run.write_status("asleep", 3, 10)
    assert not run.status.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "running"}', '{"state": 5, "step": 1}', "\0\0\0"])
def test_a_damaged_status_is_none(run: RunFolder, text: str) -> None:
    assert run.read_status() is None
    run.status.write_text(text)
    assert run.read_status() is None


def test_a_failed_write_leaves_the_old_text_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    write_text_atomically(path, "old\r\nline\n")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "new \ud800")
    assert path.read_bytes() == b"old\r\nline\n"
    assert list(tmp_path.iterdir()) == [path]


def test_only_whole_checkpoints_are_listed_by_step(run: RunFolder) -> None:
    for name in ("step-100000000", "step-00000200", "step-00001000"):
        (run.checkpoints / name).mkdir(parents=True)
    for name in ("step-1", ".writing-step-00000300", "step-00000400.tmp", "step-00000500x"):
        (run.checkpoints / name).mkdir()
    (run.checkpoints / "step-00000600").write_text("a file")
    run.point("last", 1000)
    assert [step for step, _ in run.whole_checkpoints()] == [200, 1000, 100000000]
    assert run.whole_checkpoints()[1][1] == run.checkpoint(1000)


def test_a_run_without_checkpoints_lists_none(run: RunFolder) -> None:
    assert run.whole_checkpoints() == []


def test_a_checkpoint_appears_only_when_it_is_written(run: RunFolder) -> None:
    def write(folder: Path) -> None:
        write_model(folder)
        assert run.whole_checkpoints() == []

    assert run.publish_checkpoint(20, write) == run.checkpoint(20)
    assert [step for step, _ in run.whole_checkpoints()] == [20]
    assert sorted(path.name for path in run.checkpoint(20).iterdir()) == ["model", "state.ckpt"]


def test_a_checkpoint_of_the_same_step_is_replaced_after_the_new_is_whole(run: RunFolder) -> None:
    def write_again(folder: Path) -> None:
        write_model(folder, "new")
        assert (run.checkpoint(20) / "state.ckpt").read_text() == "old"

    run.publish_checkpoint(20, lambda folder: write_model(folder, "old"))
    run.publish_checkpoint(20, write_again)
    assert (run.checkpoint(20) / "state.ckpt").read_text() == "new"
    assert os.listdir(run.checkpoints) == ["step-00000020"]


def test_a_failed_write_leaves_the_old_checkpoint(run: RunFolder) -> None:
    def fail(folder: Path) -> None:
        (folder / "state.ckpt").write_text("half")
        raise OSError("disk full")

    run.publish_checkpoint(20, lambda folder: write_model(folder, "old"))
    with pytest.raises(OSError, match="disk full"):
        run.publish_checkpoint(20, fail)
    assert [path for _, path in run.whole_checkpoints()] == [run.checkpoint(20)]
    assert (run.checkpoint(20) / "state.ckpt").read_text() == "old"


def test_what_a_killed_writer_left_is_gone_at_the_next_hold(run: RunFolder) -> None:
    done = subprocess.run([sys.executable, "-c", DIE_WHILE_PUBLISHING, str(run.root)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert os.listdir(run.checkpoints) == [".writing-step-00000020"]
    (run.root / ".config.yml.1.writing").write_text("half")
    (run.checkpoints / ".writing-last").symlink_to("step-00000020")
    with run.hold():
        pass
    assert os.listdir(run.checkpoints) == []
    assert sorted(os.listdir(run.root)) == [".lock", "checkpoints", "status.json"]


def test_a_kill_between_old_and_new_brings_the_old_checkpoint_back(run: RunFolder) -> None:
    run.publish_checkpoint(20, write_model)
    run.checkpoint(20).rename(run.checkpoints / ".replaced-step-00000020")
    with run.hold():
        pass
    assert [step for step, _ in run.whole_checkpoints()] == [20]


def test_a_removed_checkpoint_leaves_nothing(run: RunFolder) -> None:
    run.publish_checkpoint(20, write_model)
    run.remove_checkpoint(20)
    assert os.listdir(run.checkpoints) == []


def test_links_are_relative_so_that_a_moved_run_keeps_them(run: RunFolder, tmp_path: Path) -> None:
    run.publish_checkpoint(20, write_model)
    run.publish_checkpoint(30, write_model)
    run.point("last", 20)
    run.point("last", 30)
    assert run.pointed_step("last") == 30
    moved = RunFolder(run.root.rename(tmp_path / "moved"))
    assert os.readlink(moved.last) == "step-00000030"
    assert moved.last.resolve() == moved.checkpoint(30).resolve()
    assert moved.pointed_step("best") is None


def test_a_link_to_a_removed_checkpoint_points_to_no_step(run: RunFolder) -> None:
    run.publish_checkpoint(20, write_model)
    run.point("best", 20)
    run.remove_checkpoint(20)
    assert run.pointed_step("best") is None


def test_the_model_of_a_run_is_its_best_else_its_last_else_its_newest(run: RunFolder) -> None:
    for step in (10, 20, 30):
        run.publish_checkpoint(step, write_model)
    assert resolve_model_folder(run.root).resolve() == run.checkpoint(30) / "model"
    run.point("last", 20)
    assert resolve_model_folder(run.root) == run.last / "model"
    run.point("best", 10)
    assert resolve_model_folder(run.root) == run.best / "model"
    run.remove_checkpoint(10)
    assert resolve_model_folder(run.root) == run.last / "model"


def test_checkpoints_and_model_folders_are_resolved_too(run: RunFolder) -> None:
    checkpoint = run.publish_checkpoint(10, write_model)
    assert resolve_model_folder(checkpoint) == checkpoint / "model"
    assert resolve_model_folder(checkpoint / "model") == checkpoint / "model"


def test_a_folder_with_nothing_to_load_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder '.*absent'"):
        resolve_model_folder(tmp_path / "absent")
    with pytest.raises(UserError, match="nothing to load"):
        resolve_model_folder(tmp_path)


def test_the_run_package_imports_no_torch() -> None:
    program = "import sys, dlib.runs.folder, dlib.runs.record, dlib.runs.metrics_log; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
