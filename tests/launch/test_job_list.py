"""What `jobs.py status` and `logs` show of runs and their jobs."""

from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import pytest

from dlib.launch import following
from dlib.launch.job_list import actual_run_state, print_status
from dlib.launch.launchers import LAUNCHERS, JobState
from dlib.launch.local import Local
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.registry import summarize
from jobs import logs
from tests.runs.folders import write_run


class Ended(Local):
    """A launcher whose jobs have ended; it notes what it is asked for."""

    asked: ClassVar[set[str]] = set()

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Note it."""
        self.asked.update(numbers)
        return {number: JobState("completed") for number in numbers}


@pytest.fixture
def array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an array of twelve tasks, of which two have begun."""
    monkeypatch.setitem(LAUNCHERS, "ended", f"{__name__}:Ended")
    monkeypatch.setattr(following, "SECONDS_BETWEEN_LOOKS", 0.01)
    folder = tmp_path / ".sweeps" / "rates"
    (folder / "points").mkdir(parents=True)
    for index in range(12):
        (folder / "points" / str(index)).symlink_to(f"run {index}")
    for index in (2, 10):
        (folder / f"log-{index}.txt").write_text(f"step {index}\n")
    (folder / "id").write_text("ended 41\n")
    return folder


def test_of_an_array_one_task_is_followed(array: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs(Namespace(job="rates", out_dir=array.parents[1], index="10", follow=True))
    assert (capsys.readouterr().out, Ended.asked) == ("step 10\n", {"41_10"})


class Interrupted(Local):
    """A launcher whose user presses Ctrl-C."""

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Press it."""
        raise KeyboardInterrupt


def test_an_interrupt_tells_how_to_go_on_with_one_task(
    array: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LAUNCHERS, "ended", f"{__name__}:Interrupted")
    logs(Namespace(job="rates", out_dir=array.parents[1], index="10", follow=True))
    told = "jobs.py logs -f rates --index 10 shows it, jobs.py cancel rates ends the whole array\n"
    assert capsys.readouterr().err.endswith(told)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("index", [None, "12"])
def test_the_indexes_of_an_array_are_told(array: Path, index: str | None, follow: bool) -> None:
    with pytest.raises(UserError, match=r"'rates' is an array: give --index, 0 to 11; those that have begun: 2, 10$"):
        logs(Namespace(job="rates", out_dir=array.parents[1], index=index, follow=follow))


def test_a_job_that_is_no_array_has_no_index(array: Path) -> None:
    (array / "points").rename(array / "other")
    with pytest.raises(UserError, match="--index 3: 'rates' is no array; leave it out"):
        logs(Namespace(job="rates", out_dir=array.parents[1], index="3", follow=True))


class Counting(Local):
    """A launcher that notes what it is asked for."""

    asked: ClassVar[list[list[str]]] = []

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Note it."""
        self.asked.append(list(numbers))
        return {number: JobState("running", nodes=f"n{number}") for number in numbers}


def test_the_status_of_all_jobs_is_one_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LAUNCHERS, "counting", f"{__name__}:Counting")
    for number in ("1", "2", "3"):
        (tmp_path / ".jobs" / f"eval-{number}").mkdir(parents=True)
        (tmp_path / ".jobs" / f"eval-{number}" / "id").write_text(f"counting {number}\n")
    print_status(tmp_path, [])
    assert Counting.asked == [["1", "2", "3"]]
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]] == ["n1", "n2", "n3"]


class Silent(Local):
    """A launcher that is not on this machine."""

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Say so."""
        raise UserError("squeue: there is no SLURM on this machine")


def test_jobs_that_cannot_be_asked_for_are_unknown_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LAUNCHERS, "silent", f"{__name__}:Silent")
    monkeypatch.setitem(LAUNCHERS, "counting", f"{__name__}:Counting")
    for name, launcher in (("a", "silent"), ("b", "counting"), ("c", "silent"), ("d", "forgotten")):
        (tmp_path / ".jobs" / name).mkdir(parents=True)
        (tmp_path / ".jobs" / name / "id").write_text(f"{launcher} 7\n")
    print_status(tmp_path, [])
    told = capsys.readouterr()
    assert [line.split()[4] for line in told.out.splitlines()[1:]] == ["unknown", "running", "unknown", "unknown"]
    assert told.err.splitlines() == [
        "warning: squeue: there is no SLURM on this machine",
        f"warning: --launcher forgotten: it is one of {', '.join(LAUNCHERS)}",
    ]


class OneKnown(Local):
    """A launcher that knows one task of an array."""

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Where it stands."""
        known = JobState("running", nodes="n1"), JobState("gone")
        return {number: known[number == "41_1"] for number in numbers}


def test_the_points_of_an_array_have_their_tasks_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LAUNCHERS, "known", f"{__name__}:OneKnown")
    links = tmp_path / ".sweeps" / "rates" / "points"
    links.mkdir(parents=True)
    (links.parent / "id").write_text("known 41\n")
    for index in (0, 1):
        write_run(tmp_path, f"run-{index}")
        (links / str(index)).symlink_to(Path("..", "..", "..", f"run-{index}"))
    print_status(tmp_path, [])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows[0] == ["run-0", "finished", "30", "41_0", "running", "n1"]
    assert rows[1] == ["run-1", "finished", "30", "-", "-", "-"], "it was no task of this array"


@pytest.mark.parametrize(
    ("run_state", "job", "shown"),
    [
        ("unknown", JobState("running"), "running"),
        ("unknown", JobState("completed"), "killed"),
        ("unknown", JobState("gone"), "killed"),
        ("unknown", None, "unknown"),
        ("unknown", JobState("unknown"), "unknown"),
        ("finished", JobState("running"), "finished"),
    ],
)
def test_the_cluster_knows_what_a_lock_out_of_sight_does_not_tell(
    run_state: str, job: JobState | None, shown: str
) -> None:
    assert actual_run_state(run_state, job) == shown


def test_a_run_that_has_a_job_and_never_began_is_no_foreign_folder(run: RunFolder) -> None:
    run.job.mkdir()
    assert not run.is_foreign()
    assert summarize(run).state == "not begun", "and not queued: its job may have been cancelled or have failed"
