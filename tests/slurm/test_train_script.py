"""`scripts/train.sh` under a real sbatch: a run on two nodes, and how it goes on."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.runs.metrics_log import read_metrics
from dlib.runs.record import read_record
from tests.launching import Place
from tests.slurm.cluster import run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
SHAPE = ("--nodes=2", "--ntasks-per-node=2", "--job-name=train-script", "--time=10")
CONFIG = "durations: {training_goal: 3, eval_interval: 3}\noptim: {schedule: constant}\n"


def sbatch(log: Path, variable: str, *words: str) -> str:
    """Queues the script with a variable, waits for the job's end, and returns what it printed."""
    variables = (variable, f"DLIB_PYTHON={sys.executable}")  # which needs no scripts/setup.sh
    done = run(["env", *variables, "sbatch", "--wait", *SHAPE, f"--output={log}", "scripts/train.sh", *words])
    assert done.returncode == 0, done.stderr + log.read_text()
    return log.read_text()


def test_a_run_of_two_nodes_begins_by_its_configuration_and_goes_on_by_its_name(
    session_place: Place, tmp_path: Path
) -> None:
    place = replace(session_place, runs=tmp_path / "runs")
    (tmp_path / "three.yml").write_text(CONFIG)
    first = sbatch(tmp_path / "first.txt", f"DLIB_CONFIG={tmp_path}/three.yml", *place.arguments("wide"))
    assert "run 'wide' is finished at step 3" in first
    folder = place.folder("wide")
    second = sbatch(tmp_path / "second.txt", f"DLIB_RESUME={folder.root}", "--training_goal", "6")
    assert "run 'wide' is finished at step 6" in second
    assert [record["step"] for record in read_metrics(folder.metrics)] == [*range(1, 7)]
    record = read_record(folder)
    assert record is not None
    assert (record["hardware"]["processes"], len(record["sessions"])) == (4, 1)
