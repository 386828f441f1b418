"""One name, one run: what may begin, what goes on, and what a kill left between two writes is put right."""

from dataclasses import replace
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs
from dlib.errors import UserError
from dlib.runs import session
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import MetricsLog

HASHES = {"training text": "a", "development text": "b", "tokenizer": "c"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that does not exist yet."""
    return RunFolder(tmp_path / "runs" / "wiki")


def save(folder: RunFolder, step: int) -> None:
    """Publish a checkpoint with nothing in it but a model's configuration."""

    def write(new: Path) -> None:
        (new / "model").mkdir()
        (new / "model" / "config.json").write_text("{}")

    folder.publish_checkpoint(step, write)


def open_session(folder: RunFolder, args: ExperimentArgs | None = None) -> session.Start:
    """Begin a session and end it."""
    with session.opened(folder, args or ExperimentArgs(), 10, HASHES, {}, Path(__file__).parent) as start:
        return start


def test_a_folder_that_is_no_run_is_refused_and_not_touched(folder: RunFolder) -> None:
    folder.root.mkdir(parents=True)
    (folder.root / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is no run; choose another --name"):
        session.check(folder, ExperimentArgs())
    with pytest.raises(UserError, match="is no run"):
        open_session(folder)
    assert (folder.root / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_and_what_a_killed_beginning_left_are_taken(folder: RunFolder) -> None:
    folder.root.mkdir(parents=True)
    assert not folder.is_foreign()
    with folder.hold():
        pass
    assert not folder.is_foreign()
    assert open_session(folder) == session.Start(0, None)


def test_a_new_run_that_a_mistake_ends_leaves_nothing(folder: RunFolder) -> None:
    with pytest.raises(UserError), session.opened(folder, ExperimentArgs(), 10, HASHES, {}, Path(__file__).parent):
        raise UserError("a mistake")
    assert not folder.root.exists()


@pytest.mark.parametrize(
    ("error", "reason"), [(UserError("a mistake"), "a mistake"), (ValueError("two\n lines"), "ValueError: two lines")]
)
def test_the_status_tells_why_a_session_failed(folder: RunFolder, error: Exception, reason: str) -> None:
    open_session(folder)
    with pytest.raises(type(error)), session.opened(folder, ExperimentArgs(), 10, HASHES, {}, Path(__file__).parent):
        raise error
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.reason) == ("failed", reason)
    open_session(folder)
    assert '"reason": null' in folder.status.read_text()


def test_links_that_a_kill_left_behind_are_moved_when_the_run_goes_on(folder: RunFolder) -> None:
    open_session(folder)
    log = MetricsLog(folder.metrics)
    for step, loss in ((3, 5.8), (6, 5.7)):
        log.add(step, {"dev/loss": loss})
        log.flush()
        save(folder, step)
    folder.point("last", 3)
    folder.point("best", 3)
    log.add(9, {"dev/loss": 1.0})  # its checkpoint never became whole
    log.flush()
    assert open_session(folder).step == 6
    assert (folder.pointed_step("last"), folder.pointed_step("best")) == (6, 6)


def test_what_the_beginning_chose_by_itself_stays_when_the_run_goes_on(folder: RunFolder) -> None:
    args = ExperimentArgs()
    chosen = replace(
        args,
        batch=replace(args.batch, micro_batch_size=4),
        hardware=replace(args.hardware, precision="bf16-mixed"),
    )
    open_session(folder, chosen)
    assert session.check(folder, args) == chosen
    with pytest.raises(UserError, match=r"hardware\.precision was 'bf16-mixed', now '32-true'"):
        session.check(folder, replace(args, hardware=replace(args.hardware, precision="32-true")))
