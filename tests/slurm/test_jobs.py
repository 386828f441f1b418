"""`jobs.py` and a real SLURM cluster: whatever happens to a job, the run ends by itself, as if nothing had happened."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.launch.snapshot import remove_snapshot
from dlib.launch.submission import read_id
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import assert_same_end
from tests.exactness.ranks import assert_equal_within_float_tolerance
from tests.launching import ROOT, Place, recorded_steps, train, train_undisturbed
from tests.slurm import cluster

pytestmark = pytest.mark.slurm
STEPS = 2400  # a quiet machine computes them in more than the half minute in which SLURM looks at time limits
GOAL = ("--training_goal", str(STEPS), "--eval_interval", "800", "--save_interval", "400")
SHORT = ("--training_goal", "6", "--eval_interval", "3")
CLUSTER = "partition: low\ncpus_per_task: 1\ntime: 00:30:00\nenvironment:\n  OMP_NUM_THREADS: '1'\n"


@pytest.fixture(scope="module")
def here(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Where the runs of these tests stand, and the file of their cluster."""
    root = tmp_path_factory.mktemp("jobs")
    (root / "cluster.yml").write_text(CLUSTER)
    yield replace(session_place, runs=root / "runs")
    for code in root.glob("runs/*/*/code"):  # git would list them as trees of this one
        remove_snapshot(ROOT, code)


def jobs(here: Place, *words: str) -> "subprocess.CompletedProcess[str]":
    """Runs jobs.py."""
    return cluster.run([sys.executable, "jobs.py", *words])


def submit(here: Place, name: str, goal: tuple[str, ...], *flags: str) -> "subprocess.CompletedProcess[str]":
    """Submits a training by jobs.py."""
    file = str(here.runs.parent / "cluster.yml")
    return jobs(here, "submit", "--cluster", file, *flags, "--", "train.py", *here.arguments(name, *goal))


def id_of(folder: RunFolder) -> str:
    """The number of a run's job."""
    found = read_id(folder.job)
    assert found is not None
    return found[1]


def starts_of(folder: RunFolder) -> int:
    """How often a job has started."""
    path = folder.job / "starts.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def cleaned(here: Place) -> Iterator[None]:
    """Ends what a failed test leaves in the queue."""
    yield
    for path in here.runs.glob("*/*/id"):
        cluster.run(["scancel", path.read_text().split()[1]])


def time_runs_out(job: str) -> None:
    """Has the time limit of a job come closer than the two minutes of its warning: one or two are left."""
    clock = cluster.ask("squeue", "--noheader", "--jobs", job, "--format", "%M").split(":")
    cluster.ask("scontrol", "update", f"jobid={job}", f"TimeLimit={int(clock[-2]) + 2}")


DISTURBANCES: dict[str, Callable[[str], object]] = {
    "the time limit": time_runs_out,
    "a warning": lambda job: cluster.ask("scancel", "--signal=USR1", job),
    "a requeue": lambda job: cluster.ask("scontrol", "requeue", job),
    "preemption": cluster.preempt,
    "a lost node": cluster.lose_node,
}


def disturb(folder: RunFolder, job: str, name: str) -> None:
    """Does something to a job that trains, and waits until it has started again."""
    begun, starts = recorded_steps(folder), starts_of(folder)
    cluster.wait_until(lambda: recorded_steps(folder) > begun + 5, f"steps before {name}")
    undo = DISTURBANCES[name](job)
    cluster.wait_until(lambda: starts_of(folder) > starts, f"a new start after {name}")
    if callable(undo):
        undo()
    assert recorded_steps(folder) < STEPS, f"{name} came too late"
    cluster.ask("scontrol", "update", f"jobid={job}", "TimeLimit=30")


@pytest.mark.slow
@pytest.mark.usefixtures("cleaned")
def test_a_disturbed_job_ends_by_itself_with_the_bits_of_an_undisturbed_run(here: Place, tmp_path: Path) -> None:
    undisturbed = train_undisturbed(here, GOAL, tmp_path)
    submitted = submit(here, "run", GOAL, "--options=--exclusive", "--no_follow")
    assert submitted.returncode == 0, submitted.stderr
    folder = here.folder("run")
    job = id_of(folder)
    for name in DISTURBANCES:
        disturb(folder, job, name)
    followed = jobs(here, "logs", "-f", "run", "--out_dir", str(here.runs))
    assert followed.returncode == 0, followed.stderr
    assert "run 'run' is finished at step" in followed.stdout
    assert [record["step"] for record in read_metrics(folder.metrics)] == list(range(1, STEPS + 1))
    assert_same_end(folder, undisturbed)


@pytest.mark.slow
@pytest.mark.usefixtures("cleaned")
def test_a_preemption_of_a_job_without_a_run_does_not_count(here: Place) -> None:
    here.runs.mkdir(exist_ok=True)
    words = ("--cluster", str(here.runs.parent / "cluster.yml"), "--out_dir", str(here.runs), "--no_follow")
    submitted = jobs(
        here, "submit", *words, "--options=--exclusive", "--", "eval.py", str(here.runs / "later"), "--watch"
    )
    assert submitted.returncode == 0, submitted.stderr
    folder = here.runs / ".jobs" / "eval-later"
    log, found = folder / "log.txt", read_id(folder)
    assert found is not None

    def starts() -> int:
        return log.read_text().count("waiting for a run to begin") if log.exists() else 0

    cluster.wait_until(lambda: starts() == 1, "a start")
    cluster.preempt(found[1])
    cluster.wait_until(lambda: starts() == 2, "a start after the preemption")
    assert "goes back into the queue" in log.read_text(), "SLURM warned it, and it requeued itself"
    assert (folder / "starts.txt").read_text() == "0\n"


@pytest.mark.slow
@pytest.mark.usefixtures("cleaned")
def test_two_nodes_compute_the_losses_of_one_process(here: Place, tmp_path: Path) -> None:
    done = submit(here, "two", SHORT, "--nodes", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run 'two' is finished at step 6" in done.stdout
    assert train(here.arguments("one", *SHORT), tmp_path).status == 0
    assert_equal_within_float_tolerance(here.folder("two"), here.folder("one"))
    status = jobs(here, "status", "--out_dir", str(here.runs), "two").stdout.splitlines()
    assert status[1].split()[:5] == ["two", "finished", "6", id_of(here.folder("two")), "completed"]


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--partition", "nowhere"), "error: --partition: the cluster has no such one; `sinfo` lists them (SLURM: "),
        (("--cpus_per_task", "9999"), "error: --nodes, --gpus_per_node, --tasks_per_node, --cpus_per_task, --mem"),
        (("--mem", "9000G"), "error: --nodes, --gpus_per_node, --tasks_per_node, --cpus_per_task, --mem"),
    ],
)
def test_what_the_cluster_cannot_do_is_one_line_and_leaves_nothing(
    here: Place, flags: tuple[str, ...], error: str
) -> None:
    done = submit(here, "none", SHORT, *flags)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(error)
    assert not here.folder("none").root.exists()


@pytest.mark.usefixtures("cleaned")
def test_a_job_that_waits_is_listed_with_its_reason_and_cancelled(here: Place) -> None:
    assert submit(here, "waiting", SHORT, "--options=--hold", "--no_follow").returncode == 0
    out_dir = ("--out_dir", str(here.runs))
    line = jobs(here, "status", *out_dir, "waiting").stdout.splitlines()[1].split()
    assert line == ["waiting", "not", "begun", "-", id_of(here.folder("waiting")), "pending", "JobHeldUser"]
    again = submit(here, "waiting", SHORT)
    assert (again.returncode, "which is pending: see jobs.py logs -f waiting" in again.stderr) == (2, True)
    assert jobs(here, "cancel", *out_dir, "waiting").returncode == 0
    cluster.wait_until(
        lambda: "cancelled" in jobs(here, "status", *out_dir, "waiting").stdout, "a cancelled job", seconds=20
    )
