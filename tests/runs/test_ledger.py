"""The ledger of evaluations: claims end with their process, and what is pinned outlives retention."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.process.errors import UserError
from dlib.runs.finding import find_checkpoint
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from tests.launching import ROOT

CLAIM = """
import sys
from pathlib import Path
from dlib.runs.ledger import EvaluationLedger

with EvaluationLedger(Path(sys.argv[1])).claim("step-00000010") as is_mine:
    print(is_mine, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run with the checkpoints of steps 10 and 20."""
    run = RunFolder(tmp_path / "run")
    run.root.mkdir()
    for step in (10, 20):
        run.publish_checkpoint(step, write_checkpoint)
    run.config.touch()
    return run


def write_checkpoint(path: Path) -> None:
    """What stands for a checkpoint here."""
    (path / "model" / "deeper").mkdir(parents=True)
    (path / "model" / "config.json").write_text("whole")
    (path / "model" / "deeper" / "template").write_text("deep")
    (path / "state.ckpt").touch()


def model_of(run: RunFolder, step: int) -> Path:
    return CheckpointFolder(run.checkpoint(step)).model


def test_what_is_pinned_outlives_its_checkpoint_and_takes_no_room(folder: RunFolder) -> None:
    pinned = folder.ledger.pin("step-00000010", model_of(folder, 10))
    assert pinned is not None
    assert (pinned / "config.json").samefile(model_of(folder, 10) / "config.json"), "it is linked and not copied"
    folder.remove_checkpoint(10)
    assert [step for step, _ in folder.whole_checkpoints()] == [20]
    assert (pinned / "config.json").read_text() == "whole"
    assert (pinned / "deeper" / "template").read_text() == "deep"


def test_files_are_copied_where_there_are_no_hard_links(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    pinned = folder.ledger.pin("step-00000010", model_of(folder, 10))
    assert pinned is not None
    assert (pinned / "config.json").read_text() == "whole"


def test_a_checkpoint_that_has_gone_is_not_pinned(folder: RunFolder) -> None:
    folder.remove_checkpoint(10)
    assert folder.ledger.pin("step-00000010", model_of(folder, 10)) is None
    assert folder.ledger.pinned() == {}


def test_a_checkpoint_without_a_model_is_an_error_but_not_for_retention(folder: RunFolder) -> None:
    shutil.rmtree(model_of(folder, 10))
    with pytest.raises(FileNotFoundError):
        folder.ledger.pin("step-00000010", model_of(folder, 10))
    folder.ledger.watch("")
    folder.remove_checkpoint(10)
    assert folder.ledger.pinned() == {}


def test_retention_keeps_what_a_watcher_lacks_until_every_watcher_has_it(folder: RunFolder) -> None:
    ledger = folder.ledger
    folder.ledger.watch("")
    folder.ledger.watch("-test-1a2b3c4d")
    folder.remove_old_checkpoints(1, [])
    assert [step for step, _ in folder.whole_checkpoints()] == [20]
    assert list(ledger.pinned()) == ["step-00000010"]
    ledger.write("step-00000010", "", "{}")
    ledger.release("step-00000010")
    assert list(ledger.pinned()) == ["step-00000010"]
    ledger.write("step-00000010", "-test-1a2b3c4d", "{}")
    ledger.sweep()
    assert ledger.pinned() == {}


def test_retention_keeps_nothing_that_is_evaluated_or_that_nobody_watches(folder: RunFolder) -> None:
    folder.ledger.watch("")
    folder.ledger.write("step-00000010", "", "{}")
    folder.remove_checkpoint(10)
    folder.ledger.unwatch("")
    folder.remove_checkpoint(20)
    assert folder.ledger.pinned() == {}


def test_retention_goes_on_where_nothing_can_be_pinned(folder: RunFolder) -> None:
    folder.ledger.watch("")
    (folder.evals / ".pinned").write_text("a file in the way")
    folder.remove_checkpoint(10)
    assert [step for step, _ in folder.whole_checkpoints()] == [20]


def test_a_claim_is_refused_while_another_process_has_it_and_ends_when_it_is_killed(folder: RunFolder) -> None:
    command = [sys.executable, "-c", CLAIM, str(folder.evals)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with folder.ledger.claim("step-00000010") as is_mine:
            assert not is_mine
        with folder.ledger.claim("step-00000020") as is_mine:
            assert is_mine
        with folder.ledger.claim("step-00000010", before_waiting=other.kill) as is_mine:
            assert is_mine, "it is told of, then waited for"
        other.wait(10)
        with folder.ledger.claim("step-00000010") as is_mine:
            assert is_mine


def test_what_is_claimed_is_not_swept(folder: RunFolder) -> None:
    folder.ledger.pin("step-00000010", model_of(folder, 10))
    with folder.ledger.claim("step-00000010"):
        folder.ledger.sweep()
        assert list(folder.ledger.pinned()) == ["step-00000010"]
    folder.ledger.sweep()
    assert folder.ledger.pinned() == {}


def test_what_a_killed_evaluation_left_half_written_goes_with_the_next_result(folder: RunFolder) -> None:
    folder.evals.mkdir()
    for name in ("step-00000010.json", "step-00000010.outputs.jsonl", "step-00000020.json"):
        (folder.evals / f".{name}.123.writing").touch()
    folder.ledger.write("step-00000010", "", "{}", outputs="{}\n")
    left = {"step-00000010.json", "step-00000010.outputs.jsonl", ".step-00000020.json.123.writing"}
    assert {path.name for path in folder.evals.iterdir()} == left


def test_a_folder_that_cannot_be_written_is_told_in_one_line(folder: RunFolder) -> None:
    folder.evals.write_text("a file in the way")
    with pytest.raises(UserError, match="evals cannot be written"):
        folder.ledger.write("step-00000010", "", "{}")
    with pytest.raises(UserError, match="evals cannot be written"):
        folder.ledger.watch("")


def test_a_checkpoint_leads_to_its_run(folder: RunFolder) -> None:
    folder.point("best", 10)
    for path in (folder.checkpoint(10), folder.best, model_of(folder, 10)):
        assert find_checkpoint(path) == (RunFolder(folder.root.resolve()), 10)
    assert find_checkpoint(folder.root) is None
    folder.config.unlink()
    assert find_checkpoint(folder.checkpoint(10)) is None
