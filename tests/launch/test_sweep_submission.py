"""What an array's tasks read: the sweep as it was submitted, whatever becomes of its files."""

from pathlib import Path

import pytest
from filelock import FileLock

from dlib.args import ExperimentArgs
from dlib.config.configuration import load_config
from dlib.launch.clusters import Cluster, Container
from dlib.launch.job import Job
from dlib.launch.launchers import LAUNCHERS
from dlib.launch.local import Local
from dlib.launch.slurm_script import sbatch_script
from dlib.launch.sweep_file import SweepFile
from dlib.launch.sweep_points import SweepOrder, states
from dlib.launch.sweep_submission import array_job, keep_sweep, ranges, submit_sweep
from dlib.process.errors import UserError
from tests.launching import ROOT
from tests.runs.folders import write_run

SWEEP = """
config_path: base.yml
settings: {training_goal: 30}
grid: {model_overrides: [[hidden_size=32, num_hidden_layers=2], [hidden_size=64]], weight_decay: [0, 0.1]}
repeat: 2
"""
BASE = """
vars: {rate: 1e-3}
optim: ${from_file:optim.yml}
run: {seed: 7}
"""


@pytest.fixture
def order(tmp_path: Path) -> SweepOrder:
    """A sweep over two files, which refer to each other."""
    (tmp_path / "s.yml").write_text(SWEEP)
    (tmp_path / "base.yml").write_text(BASE)
    (tmp_path / "optim.yml").write_text("learning_rate: ${vars.rate}\nmin_learning_rate_ratio: 0.1\n")
    sweep = SweepFile(tmp_path / "s.yml").sweep()
    args = load_config(sweep.config_paths, {**sweep.settings, "run.out_dir": str(tmp_path / "runs")})
    return SweepOrder(sweep, sweep.config_paths, ["--offline"], args)


def test_the_kept_sweep_has_the_same_points_once_its_files_are_others(order: SweepOrder, tmp_path: Path) -> None:
    points, folder = order.points, order.folder
    keep_sweep(order, folder)
    for name in ("s.yml", "base.yml", "optim.yml"):
        (tmp_path / name).unlink()
    kept = SweepFile(folder / "sweep.json").sweep()
    args = load_config(kept.config_paths, kept.settings)
    assert (args.optim.learning_rate, args.optim.min_learning_rate_ratio, args.run.seed) == (1e-3, 0.1, 7)
    assert kept.points(args.run.seed) == points
    assert load_config(kept.config_paths, {"vars": {"rate": "0.5"}}).optim.learning_rate == 0.5


def test_a_task_finds_the_step_of_its_run(order: SweepOrder) -> None:
    point = order.points[5]
    write_run(order.workspace, point.name, args=ExperimentArgs())
    keep_sweep(order, order.folder)
    keep_sweep(order, order.folder)
    assert '"step": 30' in (order.folder / "points" / "5" / "status.json").read_text()


def test_the_array_has_the_points_that_are_due_and_a_limit(order: SweepOrder) -> None:
    found = states(order)
    due = [each for each in found if each.point.index not in (0, 4)]
    job = array_job(order, due, Cluster(gpus_per_node=0), 3, ["--num_devices", "2"])
    script = sbatch_script(job)
    assert "#SBATCH --array=1-3,5-7%3" in script
    assert 'sweep.json \\\n  --index "$SLURM_ARRAY_TASK_ID"' in script
    assert "--offline" in script
    assert "--num_devices 2" in script
    assert "--array=0-7\n" in sbatch_script(array_job(order, found, Cluster(), None, []))


def test_in_a_container_the_runs_can_be_written_and_the_clock_saves(order: SweepOrder) -> None:
    cluster = Cluster(time="01:00:00", container=Container(image="/images/dlib.sqsh"))
    script = sbatch_script(array_job(order, states(order), cluster, None, ["--max_time", str(cluster.clock)]))
    place = order.workspace.absolute()
    assert f"{place}:{place}" in script
    assert "--max_time 00:57:00" in script


def test_what_a_cluster_refuses_leaves_nothing(order: SweepOrder) -> None:
    job = array_job(order, states(order), Cluster(launcher="local"), None, [])
    with pytest.raises(UserError, match=r"take sweep\.py --local"):
        submit_sweep(order, job, ROOT)
    assert not order.workspace.exists()


class Refusing(Local):
    """A launcher that takes nothing, though it has arrays."""

    def script(self, job: Job) -> str:
        """Have one."""
        return sbatch_script(job)

    def submit(self, job: Job) -> str:
        """Refuse."""
        raise UserError("the queue is full")


def test_what_a_cluster_refuses_in_the_end_leaves_nothing(order: SweepOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAUNCHERS, "refusing", f"{__name__}:Refusing")
    job = array_job(order, states(order), Cluster(launcher="refusing"), None, [])
    with pytest.raises(UserError, match="the queue is full"):
        submit_sweep(order, job, order.workspace.parent)
    assert not order.workspace.exists()


def test_a_sweep_that_is_just_being_submitted_is_left_alone(order: SweepOrder) -> None:
    job = array_job(order, states(order), Cluster(), None, [])
    job.folder.mkdir(parents=True)
    (job.folder / "sweep.json").write_text("that of the first")
    with FileLock(job.folder / ".lock"), pytest.raises(UserError, match="a job of 's' is being submitted"):
        submit_sweep(order, job, ROOT)
    assert (job.folder / "sweep.json").read_text() == "that of the first"


@pytest.mark.parametrize(
    ("numbers", "text"), [([0], "0"), ([0, 1, 2], "0-2"), ([0, 2, 3, 9], "0,2-3,9"), ([4, 5, 7], "4-5,7")]
)
def test_numbers_are_written_as_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text
