"""A job from its command to its end, on this machine; and what a refusal leaves."""

import os
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.launch.clusters import Cluster, Container
from dlib.launch.following import follow
from dlib.launch.job import Job
from dlib.launch.job_list import find_job, print_status
from dlib.launch.launchers import LAUNCHERS, JobState, Launcher, make_launcher
from dlib.launch.local import Local
from dlib.launch.submission import cancel_job, read_id, requeue_job, state_of, submit_job
from dlib.process.errors import TrainingError, UserError
from dlib.runs.folder import RunFolder
from dlib.runs.working_tree import hash_uncommitted_code, save_uncommitted_code
from tests.repositories import git, slow_git

SECONDS = 20


class Refusing(Local):
    """A launcher that takes nothing."""

    def submit(self, job: Job) -> str:
        """Refuse."""
        raise UserError("--partition: there is no such one")


class Requeuing(Local):
    """A launcher that brings jobs back."""

    def requeue(self, number: str) -> None:
        """Do so."""


class Twice(Local):
    """A launcher while whose answer is awaited the user submits once more."""

    def submit(self, job: Job) -> str:
        """Do so, to a launcher that would take it."""
        with pytest.raises(UserError, match="a job of 'wiki' is being submitted at this moment"):
            submit_job(replace(job, cluster=replace(job.cluster, launcher="other")), job.cwd)
        return super().submit(job)


@pytest.fixture
def job(repository: Path, run: RunFolder) -> Job:
    """A job that runs what stands in the repository, which has changed since its commit."""
    (repository / "train.py").write_text("import new; print(new.word)\n")
    (repository / "new.py").write_text("word = 'submitted'\n")
    cluster = Cluster(launcher="local", python=sys.executable)
    return Job(("train.py",), run.job, cluster, "wiki", run=run.root, cwd=repository)


def wait_for_end(job: Job) -> JobState:
    """Where a job stands when it has ended."""
    deadline = time.monotonic() + SECONDS
    while not (state := state_of(job.folder)).is_over:
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(0.05)
    return state


def test_a_job_runs_the_code_that_was_submitted(job: Job, repository: Path) -> None:
    pipe = job.folder.parent / "go"
    slow = replace(job, cluster=replace(job.cluster, setup=[f"while [ ! -e {pipe} ]; do sleep 0.05; done"]))
    submit_job(slow, repository)
    (repository / "new.py").write_text("word = 'edited since'\n")
    git(repository, "commit", "-am", "later")
    pipe.touch()
    assert wait_for_end(job) == JobState("completed")
    assert job.log().read_text() == "submitted\n"


def test_the_code_of_a_job_is_recorded_as_that_of_the_project(job: Job, run: RunFolder, repository: Path) -> None:
    here = hash_uncommitted_code(RunFolder(repository / "runs" / "wiki"), repository)
    submit_job(job, repository)
    wait_for_end(job)
    assert hash_uncommitted_code(run, job.code) == here
    assert save_uncommitted_code(run, job.code)["untracked"] == ["new.py"]
    assert git(job.code, "rev-parse", "HEAD") == git(repository, "rev-parse", "HEAD")
    assert sorted(path.name for path in job.folder.iterdir()) == [
        *(".lock", "code", "exit_status", "id", "job.sh", "log.txt")
    ]


def test_a_second_submission_takes_the_code_anew_and_keeps_the_log(job: Job, repository: Path) -> None:
    submit_job(job, repository)
    wait_for_end(job)
    (repository / "new.py").write_text("word = 'again'\n")
    submit_job(job, repository)
    wait_for_end(job)
    assert job.log().read_text() == "submitted\nagain\n"
    assert git(repository, "worktree", "list").count("\n") == 2


def test_without_git_a_job_runs_what_stands_there(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "unpacked"
    project.mkdir()
    (project / "train.py").write_text("print('plain')\n")
    elsewhere = replace(job, folder=tmp_path / "runs" / "wiki" / "job", run=None)
    submit_job(elsewhere, project)
    wait_for_end(elsewhere)
    assert elsewhere.log().read_text() == "plain\n"
    assert (
        "has no commit of git of its own: the job will run the code as it then stands there" in capsys.readouterr().err
    )


def test_a_job_is_refused_whose_uncommitted_code_git_does_not_tell(
    job: Job, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_git(tmp_path / "bin", monkeypatch, "ls-files")
    with pytest.raises(UserError, match="git does not tell what is uncommitted, and a job would do without it"):
        submit_job(job, repository)
    assert not job.folder.exists()


def test_a_refused_job_leaves_nothing(job: Job, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAUNCHERS, "local", f"{__name__}:Refusing")
    before = git(repository, "worktree", "list")
    assert job.run is not None
    job.run.rmdir()
    with pytest.raises(UserError, match="no such one"):
        submit_job(job, repository)
    assert not job.run.exists()
    assert git(repository, "worktree", "list") == before


def test_a_setup_line_that_fails_ends_the_job(job: Job, repository: Path) -> None:
    submit_job(replace(job, cluster=replace(job.cluster, setup=["false it is", "true"])), repository)
    assert wait_for_end(job) == JobState("failed", "exit status 1")
    assert job.log().read_text() == "error: setup: false it is: this has failed, so the job ends\n"


def test_a_run_has_one_job_at_a_time(job: Job, repository: Path) -> None:
    slow = replace(job, cluster=replace(job.cluster, setup=["sleep 30"]))
    number = submit_job(slow, repository)
    try:
        with pytest.raises(UserError, match=r"'wiki' has job .* running: see jobs.py logs -f wiki"):
            submit_job(job, repository)
    finally:
        os.killpg(int(number.partition(":")[0]), 9)


def test_of_two_submissions_at_the_same_moment_one_is_refused(
    job: Job, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAUNCHERS, "other", LAUNCHERS["local"])
    monkeypatch.setitem(LAUNCHERS, "local", f"{__name__}:Twice")
    submit_job(job, repository)
    assert wait_for_end(job) == JobState("completed")
    assert job.log().read_text() == "submitted\n"


def test_cancelling_asks_the_command_to_save(job: Job, repository: Path) -> None:
    (repository / "train.py").write_text(
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nprint('ready', flush=True)\n"
        "time.sleep(30)\n"
    )
    submit_job(job, repository)
    deadline = time.monotonic() + SECONDS
    while "ready" not in (job.log().read_text() if job.log().exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    cancel_job(job.folder)
    assert wait_for_end(job) == JobState("saved", "exit status 75")
    with pytest.raises(UserError, match="has ended already: saved"):
        cancel_job(job.folder)


def test_following_shows_the_log_and_how_it_ends(
    job: Job, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "train.py").write_text("print('step 1'); raise SystemExit(3)\n")
    number = submit_job(job, repository)
    with pytest.raises(TrainingError, match=r"job .* of 'wiki' has failed \(exit status 3\); its log: .*log.txt"):
        follow(make_launcher("local"), number, "wiki", job.log(), 0)
    assert capsys.readouterr().out == "step 1\n"


class Interrupted(Local):
    """A launcher whose user presses Ctrl-C."""

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Press it."""
        raise KeyboardInterrupt


def test_an_interrupt_leaves_the_job_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launcher: Launcher = Interrupted()
    follow(launcher, "12", "wiki", tmp_path / "log.txt", 0)
    assert "job 12 goes on without you: jobs.py logs -f wiki shows it" in capsys.readouterr().err


def test_jobs_are_found_by_name_and_listed_with_runs(
    job: Job, run: RunFolder, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit_job(job, repository)
    wait_for_end(job)
    workspace = run.root.parent
    other = replace(job, folder=workspace / ".jobs" / "eval-wiki", run=None, name="eval-wiki")
    submit_job(other, repository)
    wait_for_end(other)
    assert find_job("wiki", workspace) == run.job
    assert find_job(str(run.root), Path("nowhere")) == run.job
    with pytest.raises(UserError, match="no job of 'wikis'"):
        find_job("wikis", workspace)
    capsys.readouterr()
    print_status(workspace, [])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    number = (read_id(job.folder) or ("", ""))[1].partition(":")[0]
    assert lines[1] == ["wiki", "not", "begun", "-", number, "completed", "-"]
    assert [line[0] for line in lines[2:]] == ["eval-wiki"]


def test_a_job_that_was_given_up_starts_anew_when_a_user_requeues_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAUNCHERS, "local", f"{__name__}:Requeuing")
    (tmp_path / "id").write_text("local 7:runs/wiki/job\n")
    for name in ("starts.txt", "starts-3.txt"):
        (tmp_path / name).write_text("12\n12\n12\n12\n")
    requeue_job(tmp_path)
    assert [(tmp_path / name).read_text() for name in ("starts.txt", "starts-3.txt")] == ["", ""]


def test_a_project_within_a_larger_repository_runs_as_it_stands_there(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = repository / "inner"
    project.mkdir()
    (project / "train.py").write_text("print('inner')\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "inner")
    cluster = Cluster(launcher="local", python=sys.executable)
    own = Job(("train.py",), tmp_path / "elsewhere" / "job", cluster, "wiki", cwd=project)
    submit_job(own, project)
    assert wait_for_end(own) == JobState("completed")
    assert own.log().read_text() == "inner\n"
    assert "has no commit of git of its own" in capsys.readouterr().err


@pytest.mark.parametrize("cluster", [Cluster(nodes=2), Cluster(container=Container(image="/a.sqsh"))])
def test_this_machine_is_neither_two_nor_a_container(job: Job, cluster: Cluster) -> None:
    with pytest.raises(UserError, match="it has this machine alone, and no container"):
        Local().script(replace(job, cluster=cluster))
