"""What `jobs.py status` shows of runs and their jobs."""

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import pytest

from dlib.launch.job_list import actual_run_state, print_status
from dlib.launch.launchers import LAUNCHERS, JobState
from dlib.launch.local import Local
from dlib.runs.folder import RunFolder
from dlib.runs.registry import summarize


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


@pytest.mark.parametrize(
    ("run_state", "job", "shown"),
    [
        ("unknown", JobState("running"), "running"),
        ("unknown", JobState("completed"), "killed"),
        ("unknown", JobState("gone"), "killed"),
        ("unknown", None, "unknown"),
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
    assert summarize(run).state == "queued"
