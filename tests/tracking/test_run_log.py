"""Where numbers go: one record a step in each file and in the trackers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs, RunArgs, TrackingArgs
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.tracking import Tracker
from dlib.tracking.run_log import RunLog, open_run_log


class Listening(Tracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.heard.append((step, dict(values)))

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        self.heard.append((folder, list(aliases)))

    def finish(self, state: str) -> None:
        self.heard.append(state)


def records(file: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_step_is_one_record_in_each_file_and_one_in_the_trackers(tmp_path: Path) -> None:
    folder, tracker = RunFolder(tmp_path / "run"), Listening()
    folder.root.mkdir()
    log = RunLog(folder, [tracker])
    log.record(1, {"train/loss": 3.0})
    log.measure(1, {"performance/tokens_per_second": 10.0})
    log.record(1, {"dev/loss": 2.5})
    log.flush()
    log.flush()
    log.record(2, {"train/loss": 2.0})
    log.upload_checkpoint(folder.root, ["last"])
    log.finish("finished")
    written = [{k: v for k, v in r.items() if k in ("step", "train/loss", "dev/loss")} for r in records(folder.metrics)]
    assert written == [{"step": 1, "train/loss": 3.0, "dev/loss": 2.5}, {"step": 2, "train/loss": 2.0}]
    assert [record["performance/tokens_per_second"] for record in records(folder.performance)] == [10.0]
    assert tracker.heard == [
        (1, {"train/loss": 3.0, "performance/tokens_per_second": 10.0, "dev/loss": 2.5}),
        (folder.root, ["last"]),
        (2, {"train/loss": 2.0}),
        "finished",
    ]
    assert log.newest == {"train/loss": 2.0, "performance/tokens_per_second": 10.0, "dev/loss": 2.5}


def test_without_a_folder_nothing_is_written_or_told(tmp_path: Path) -> None:
    log = RunLog(None)  # as in processes other than the first
    log.record(1, {"train/loss": 3.0})
    log.measure(1, {"speed": 3.0})
    log.finish("finished")
    assert log.newest == {"train/loss": 3.0, "speed": 3.0}
    assert list(tmp_path.iterdir()) == []


def test_what_is_newest_is_the_same_in_every_process_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    first = RunLog(None, newest={"mine": 1.0, "dev/loss": 3.0})
    monkeypatch.setenv("RANK", "1")
    other = RunLog(None, newest={"mine": 1.0, "dev/loss": 3.0})
    assert first.newest == other.newest
    for log, rank in ((first, "0"), (other, "1")):
        monkeypatch.setenv("RANK", rank)
        log.record(2, {"train/loss": 2.0})
        log.record_own(2, {"mine": float(rank)})
        log.measure(2, {"speed": float(rank)})
    for name in ("mine", "speed"):
        with pytest.raises(
            UserError, match=rf"^run_log\.newest\['{name}'\]: .* this is rank 1: take what self\.log put"
        ):
            other.newest.get(name)
        with pytest.raises(UserError, match=name):
            other.newest[name]
    assert (other.newest["train/loss"], other.newest["dev/loss"], other.newest.get("none")) == (2.0, 3.0, None)
    monkeypatch.setenv("RANK", "0")
    assert first.newest == {"mine": 0.0, "dev/loss": 3.0, "train/loss": 2.0, "speed": 0.0}
    with pytest.raises(KeyError):
        first.newest["none"]


def test_records_beyond_the_step_of_a_resumed_session_are_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    args = ExperimentArgs(run=RunArgs(name="run"), tracking=TrackingArgs(trackers=["none"]))
    first = open_run_log(folder, args, 0)
    assert first.newest == {}
    for step in (1, 2, 3):
        first.record(step, {"train/loss": float(step)})
        first.measure(step, {"speed": 1.0})
        first.flush()
    again = open_run_log(folder, args, 2)
    assert again.newest == {"train/loss": 2.0, "speed": 1.0}
    again.record(3, {"train/loss": 30.0})
    again.finish("finished")
    assert [(r["step"], r["train/loss"]) for r in records(folder.metrics)] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert len(records(folder.performance)) == 2
    monkeypatch.setenv("RANK", "1")
    other = open_run_log(folder, args, 2)
    assert other.newest == {"train/loss": 2.0, "speed": 1.0}
    other.record(9, {"train/loss": 9.0})
    other.finish("finished")
    assert len(records(folder.metrics)) == 3, "only the first process writes"


@pytest.mark.parametrize(
    ("newest", "said"), [(13, ""), (10, ""), (3, "lacks the records from step 4 to 13"), (0, "1 to")]
)
def test_records_that_were_lost_are_told_when_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], newest: int, said: str
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    folder.metrics.write_text("".join(f'{{"step": {step}}}\n' for step in range(1, newest + 1)))
    tracking = TrackingArgs(trackers=["none"], log_interval=5)
    open_run_log(folder, ExperimentArgs(run=RunArgs(name="run"), tracking=tracking), 13)
    told = capsys.readouterr().err
    assert said in told
    assert bool(told) == bool(said)
