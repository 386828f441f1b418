"""One name, one run: what may begin, what goes on, and what a kill left between two writes is put right."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlib.args import ExperimentArgs
from dlib.process.errors import UserError
from dlib.runs import session
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import BestMetric, MetricsLog
from dlib.runs.record import read_record
from tests.full_disks import file_limit, small_disk

HASHES = {"training text": "a", "development text": "b", "tokenizer": "c"}
WHAT: tuple[Any, ...] = ({"hashes": HASHES, "devices": {}, "best": BestMetric(), "card": {}}, Path(__file__).parent)


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
    with session.opened(folder, args or ExperimentArgs(), 10, *WHAT) as start:
        return start


@contextmanager
def failing(folder: RunFolder, told: str) -> Iterator[None]:
    """A session whose block is to end with a mistake that says `told`."""
    with (
        pytest.raises(UserError, match=told),
        session.opened(folder, ExperimentArgs(), 10, *WHAT),
    ):
        yield


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
    with (
        pytest.raises(UserError),
        session.opened(folder, ExperimentArgs(), 10, *WHAT),
    ):
        raise UserError("a mistake")
    assert not folder.root.exists()


@pytest.mark.parametrize(
    ("error", "reason"), [(UserError("a mistake"), "a mistake"), (ValueError("two\n lines"), "ValueError: two lines")]
)
def test_the_status_tells_why_a_session_failed(folder: RunFolder, error: Exception, reason: str) -> None:
    open_session(folder)
    with (
        pytest.raises(type(error)),
        session.opened(folder, ExperimentArgs(), 10, *WHAT),
    ):
        raise error
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.reason) == ("failed", reason)
    open_session(folder)
    assert '"reason": null' in folder.status.read_text()


def test_a_new_run_that_fails_after_its_first_record_stays(folder: RunFolder) -> None:
    with failing(folder, "the disk is full"):
        folder.metrics.write_text('{"step": 1, "train/loss": 5.0}\n')
        raise UserError("the disk is full")
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.reason) == ("failed", "the disk is full")


def test_a_mistake_removes_nothing_that_stood_there_before(folder: RunFolder) -> None:
    (folder.record / "mine").mkdir(parents=True)
    folder.lock.touch()
    with pytest.raises(UserError, match=r"record\.json cannot be written: Is a directory"):
        open_session(folder)
    assert (folder.record / "mine").is_dir()


def test_a_configuration_that_is_a_folder_is_told(folder: RunFolder) -> None:
    folder.config.mkdir(parents=True)
    with pytest.raises(UserError, match=r"config\.yml is a folder, where a run has a file: move it away"):
        session.check(folder, ExperimentArgs())


def move_away(folder: RunFolder) -> None:
    folder.root.rename(folder.root.with_name("moved"))


def begin_another(folder: RunFolder) -> None:
    move_away(folder)
    folder.root.mkdir()
    folder.lock.touch()


@pytest.mark.parametrize(("move", "there"), [(move_away, []), (begin_another, [".lock"])])
def test_a_run_that_was_moved_is_told_and_nothing_is_written_where_it_was(
    folder: RunFolder, move: Callable[[RunFolder], None], there: list[str]
) -> None:
    with failing(folder, "was moved or removed while the run trained, and nothing more was written there"):
        move(folder)
        raise UserError("a file is gone")
    assert [path.name for path in folder.root.glob("*")] == there


@pytest.mark.parametrize("text", [None, "", '{"sessions": []}', "[1"])
def test_a_lost_record_is_told_with_what_is_checked_no_longer_and_written_anew(
    folder: RunFolder, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    open_session(folder)
    save(folder, 5)
    folder.record.unlink() if text is None else folder.record.write_text(text)
    capsys.readouterr()
    open_session(folder)
    told = capsys.readouterr().err
    assert f"warning: {folder.record} is missing or damaged: " in told
    assert "the same training text, development text, tokenizer, code, packages and hardware can no longer" in told
    record = read_record(folder)
    assert record is not None
    assert (record["from_step"], record["hashes"]) == (5, HASHES)
    open_session(folder)
    assert "missing" not in capsys.readouterr().err


def test_a_checkpoint_beyond_the_goal_is_refused(folder: RunFolder) -> None:
    open_session(folder)
    save(folder, 11)
    with pytest.raises(UserError, match="step-00000011 is beyond the run's goal of 10 steps: move it away"):
        open_session(folder)


def test_a_disk_without_any_room_takes_the_status_of_a_failed_run(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        folder = RunFolder(disk / "wiki")
        open_session(folder)
        with failing(folder, "the disk is full"):
            with suppress(OSError), (disk / "filler").open("wb") as filler:
                filler.write(b"0" * 2**20)
            raise UserError("the disk is full")
        status = folder.read_status()
        assert status is not None
        assert (status.state, status.reason) == ("failed", "the disk is full")


def test_what_ended_a_session_is_told_where_the_disk_takes_no_status(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    open_session(folder)
    with ExitStack() as limits, failing(folder, "what ended it"):
        limits.enter_context(file_limit(0))
        raise UserError("what ended it")
    assert "error: the run's status does not say how it ended: " in capsys.readouterr().err
    assert open_session(folder).step == 0


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
        data=replace(args.data, document="blank_line"),
    )
    open_session(folder, chosen)
    assert session.check(folder, args) == chosen
    with pytest.raises(UserError, match=r"hardware\.precision was 'bf16-mixed', now '32-true'"):
        session.check(folder, replace(args, hardware=replace(args.hardware, precision="32-true")))
