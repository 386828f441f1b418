"""A real SLURM cluster: whatever has started the processes, they are as many as are told, and compute the same.

The cluster must see this machine's files; four CPUs a node are enough.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlib.runs.record import read_record
from tests.exactness.ranks import assert_equal_within_float_tolerance
from tests.launching import ROOT, Place, evaluate, train
from tests.slurm.cluster import run

pytestmark = pytest.mark.slurm
TWO = ("--num_devices", "2")
GOAL = ("--training_goal", "6", "--eval_interval", "3")
JOB = """#!/bin/bash
{evaluate} >script.json
srun --ntasks 1 {evaluate} >step.json
srun --ntasks 2 --overlap {evaluate} >first.json &
srun --ntasks 2 --overlap {evaluate} >second.json
wait
"""
STARTS = {
    "script": "a job script of two tasks without srun",
    "step": "a step of one task",
    "first": "a step of two tasks",
    "second": "another one beside it, in the same job",
}


@pytest.fixture(scope="module")
def trained(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run `one` of a single process."""
    scratch = tmp_path_factory.mktemp("slurm")
    place = replace(session_place, runs=scratch / "runs")
    assert train(place.arguments("one", *GOAL), scratch).status == 0
    return place


def numbers(text: str) -> tuple[dict[str, Any], int]:
    """The metrics of an evaluation, and by how many processes."""
    (line,) = text.splitlines()
    result = json.loads(line)
    return result["metrics"], result["hardware"]["processes"]


def test_a_step_of_one_task_trains_on_the_two_devices_that_it_records(trained: Place) -> None:
    arguments = trained.arguments("two", *GOAL, *TWO)
    done = run(["srun", "--ntasks", "1", "--time", "10", sys.executable, "train.py", *arguments])
    assert done.returncode == 0, done.stderr
    record = read_record(trained.folder("two"))
    assert record is not None
    assert (record["hardware"]["processes"], record["command"]["environment"]["SLURM_NTASKS"]) == (2, "1")
    assert_equal_within_float_tolerance(trained.folder("two"), trained.folder("one"))
    one, two = (trained.folder(name).metrics.read_text() for name in ("one", "two"))
    assert one != two, "one process has computed both: the sums of two end in other bits"


@pytest.mark.slow
def test_whatever_starts_two_processes_evaluates_all_of_the_text(trained: Place, tmp_path: Path) -> None:
    arguments = [str(trained.folder("one").root), "--json", "--accelerator", "cpu", "--cache_dir", str(trained.cache)]
    alone = evaluate(arguments, tmp_path / "alone")
    assert alone.status == 0, alone.stderr
    job = tmp_path / "job.sh"
    job.write_text(JOB.format(evaluate=" ".join([sys.executable, str(ROOT / "eval.py"), *arguments, *TWO])))
    done = run(["sbatch", "--wait", "--ntasks", "2", "--time", "10", "--output", "job.log", "job.sh"], cwd=tmp_path)
    log = (tmp_path / "job.log").read_text()
    assert done.returncode == 0, done.stderr + log
    for name, start in STARTS.items():
        assert numbers((tmp_path / f"{name}.json").read_text()) == (numbers(alone.stdout)[0], 2), f"{start}: {log}"
