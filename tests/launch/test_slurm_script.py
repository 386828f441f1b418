"""The sbatch script, run by bash with stand-ins for srun and scontrol: when it is requeued, and when not."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pytest

from dlib.launch.clusters import Cluster
from dlib.launch.job import Job
from dlib.launch.slurm_script import sbatch_script
from dlib.runs.folder import RunFolder

SRUN = """#!/bin/bash
printf '%s\\n' "$@" >{here}/words
{command}
"""
SCONTROL = """#!/bin/bash
case "$1" in
  show) echo "   PreemptEligibleTime=2026-11-22T10:00:00 PreemptTime=${{PREEMPTED:-None}}" ;;
  *) echo "$@" >>{here}/requeues ;;
esac
"""


@dataclass(frozen=True)
class Stage:
    """A job whose commands of SLURM are stand-ins."""

    here: Path
    job: Job

    def start(
        self, command: str, restart: int = 0, variables: Mapping[str, str] = MappingProxyType({})
    ) -> "subprocess.CompletedProcess[str]":
        """Runs the script as SLURM would; `command` stands for all that srun does."""
        with self.started(command, restart, variables) as process:
            stdout, stderr = process.communicate(timeout=20)
        return subprocess.CompletedProcess([], process.returncode, stdout, stderr)

    def started(
        self, command: str, restart: int = 0, variables: Mapping[str, str] = MappingProxyType({})
    ) -> "subprocess.Popen[str]":
        """Starts it."""
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (self.here / name).write_text(text.format(here=self.here, command=command))
            (self.here / name).chmod(0o755)
        self.job.script.write_text(sbatch_script(self.job))
        path = f"{self.here}:{os.environ['PATH']}"
        slurm = {"PATH": path, "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restart), **variables}
        words = ["bash", str(self.job.script)]
        return subprocess.Popen(words, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def reach(self, step: int) -> None:
        """Has the run save a step."""
        assert self.job.run is not None
        RunFolder(self.job.run).write_status("preempted", step, 1000)

    @property
    def requeues(self) -> list[str]:
        """What scontrol was asked."""
        path = self.here / "requeues"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def words(self) -> list[str]:
        """What srun was asked."""
        return (self.here / "words").read_text().splitlines()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    run = tmp_path / "the runs" / "big"
    (run / "job").mkdir(parents=True)
    job = Job(("train.py", "-n", "big", "--training_goal", "2 epochs"), run / "job", Cluster(), "big", run=run)
    return Stage(tmp_path, job)


def test_a_run_that_is_saved_goes_back_into_the_queue(stage: Stage) -> None:
    stage.reach(12)
    done = stage.start("exit 75")
    assert (done.returncode, stage.requeues) == (0, ["requeue 7"])
    assert done.stdout == "stopped at step 12: job 7 goes back into the queue\n"


def test_a_job_without_a_run_speaks_of_no_step(stage: Stage) -> None:
    watcher = Stage(stage.here, replace(stage.job, run=None))
    assert watcher.start("exit 75").stdout == "stopped: job 7 goes back into the queue\n"
    given_up = [watcher.start("exit 75", restart).stderr for restart in range(1, 4)][-1]
    assert given_up == "error: given up: 3 more starts (--max_requeues) came no further\n"


@pytest.mark.parametrize("status", [0, 1, 2, 137])
def test_any_other_end_is_the_end_of_the_job(stage: Stage, status: int) -> None:
    done = stage.start(f"exit {status}")
    assert (done.returncode, stage.requeues) == (status, [])


def test_what_comes_no_further_is_given_up(stage: Stage) -> None:
    stage.reach(12)
    starts = [stage.start("exit 75", restart) for restart in range(5)]
    assert [done.returncode for done in starts] == [0, 0, 0, 1, 1]
    assert len(stage.requeues) == 3
    assert starts[3].stderr == "error: given up at step 12: 3 more starts (--max_requeues) came no further\n"


def test_what_slurm_itself_starts_again_and_again_is_given_up_too(stage: Stage) -> None:
    """A node that dies of the run, or preemption before it saves."""
    for restart in range(4):
        assert stage.start("exit 1", restart).returncode == 1
    (stage.here / "words").unlink()
    assert "given up at step 0" in stage.start("exit 0", 4).stderr
    assert not (stage.here / "words").exists(), "the command was started once more"


def test_what_comes_further_is_started_as_often_as_it_takes(stage: Stage) -> None:
    for restart in range(12):
        stage.reach(restart // 2)
        assert stage.start("exit 75", restart).returncode == 0
    assert len(stage.requeues) == 12


@pytest.mark.parametrize("status", [75, 138])
def test_a_job_without_a_run_counts_every_start_that_was_not_preempted(stage: Stage, status: int) -> None:
    """Its time limit has ended the others, or they themselves: some scripts end with 75 whatever happens."""
    watching = Stage(stage.here, replace(stage.job, run=None, cluster=Cluster(time="24:00:00")))
    preempted = {"PREEMPTED": "2026-11-22T11:00:00"}
    starts = [watching.start(f"exit {status}", restart, preempted) for restart in range(6)]
    assert [done.returncode for done in starts] == [0] * 6
    starts = [watching.start(f"exit {status}", restart) for restart in range(1, 6)]
    assert [done.returncode for done in starts] == [0, 0, 0, 1, 1]
    assert "given up: 3 more starts (--max_requeues) came no further" in starts[-1].stderr


@pytest.mark.parametrize(("has_run", "starts"), [(True, "0\n"), (False, "")])
def test_a_start_that_slurm_requeues_itself_does_not_count_without_a_run(
    stage: Stage, has_run: bool, starts: str
) -> None:
    job = stage.job if has_run else replace(stage.job, run=None)
    with Stage(stage.here, job).started(f"touch {stage.here}/runs; sleep 1; exit 143") as process:
        while not (stage.here / "runs").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert (job.folder / "starts.txt").read_text() == starts


def test_a_new_submission_forgets_the_starts_of_the_last_one(stage: Stage) -> None:
    for restart in range(5):
        stage.start("exit 75", restart)
    assert stage.start("exit 75").returncode == 0


def test_a_job_that_slurm_ends_or_requeues_itself_is_not_requeued(stage: Stage) -> None:
    with stage.started(f"touch {stage.here}/runs; sleep 1; exit 75") as process:
        while not (stage.here / "runs").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 75
    assert stage.requeues == []


def test_a_warning_to_the_script_itself_leaves_the_run_alone(stage: Stage) -> None:
    with stage.started(f"touch {stage.here}/runs; sleep 1; exit 0") as process:
        while not (stage.here / "runs").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(20) == 0


def test_a_start_on_a_lost_node_is_waited_for(stage: Stage) -> None:
    assert stage.job.run is not None
    folder = RunFolder(stage.job.run)
    with folder.locked():
        waiting = stage.started(f"touch {stage.here}/runs", restart=1)
        time.sleep(1)
        assert not (stage.here / "runs").exists()
    with waiting:
        assert waiting.wait(20) == 0
    assert (stage.here / "runs").exists()


WORDS = ["a b", "it's", 'a "quoted" one', "$HOME", "`id`", "a\\b", "--x=1,2", "*", ""]


def test_words_reach_the_command_as_they_were_typed(stage: Stage) -> None:
    job = replace(stage.job, command=("generate.py", *WORDS, "--last"))
    Stage(stage.here, job).start("exit 0")
    assert Stage(stage.here, job).words[-len(WORDS) - 1 :] == [*WORDS, "--last"]


def test_a_task_of_an_array_puts_its_index_in_and_is_requeued_alone(stage: Stage) -> None:
    command = ("sweep.py", "my sweep.yml", "--index", "{index}")
    array = replace(stage.job, command=command, array="0-11%3", run=stage.here / "points" / "{index}")
    ids = {"SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "5"}
    done = Stage(stage.here, array).start("exit 75", variables=ids)
    assert done.returncode == 0, done.stderr
    assert stage.words[-3:] == ["my sweep.yml", "--index", "5"]
    assert stage.requeues == ["requeue 40_5"]
    assert (array.folder / "starts-5.txt").read_text() == "0\n"
    assert array.id_file.read_text() == "slurm 40\n"
    assert "--array=0-11%3" in sbatch_script(array)
    assert "log-%a.txt" in sbatch_script(array)


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "slurm 7"), ("slurm 6", "slurm 7"), ("slurm 70", "slurm 7"), ("slurm 7:far", "slurm 7:far")],
)
def test_a_script_that_was_submitted_by_hand_tells_its_number(stage: Stage, before: str | None, after: str) -> None:
    if before:
        stage.job.id_file.write_text(f"{before}\n")
    assert stage.start("exit 0").stderr == ""
    assert stage.job.id_file.read_text() == f"{after}\n"


def test_setup_and_variables_come_before_the_command(stage: Stage) -> None:
    cluster = Cluster(setup=["loaded=yes", "export loaded"], environment={"HF_HOME": "/a b"})
    done = Stage(stage.here, replace(stage.job, cluster=cluster)).start('echo "$loaded $HF_HOME"')
    assert done.stdout == "yes /a b\n"


@pytest.mark.parametrize("line", ["module load 'cuda'", ". ./fails.sh", "for word in a b; do module $word; done"])
def test_a_setup_line_that_fails_ends_the_job_and_is_named(stage: Stage, line: str) -> None:
    fine = ["if false; then", "  true", "else", "  [ -e nowhere ] && true", "fi", f"cd {stage.here}", ". ./works.sh"]
    (stage.here / "works.sh").write_text("false\ntrue\n")
    (stage.here / "fails.sh").write_text("true\nfalse\n")
    variables = {"BASH_FUNC_module%%": "() { true; false; }"}
    job = replace(stage.job, cluster=Cluster(setup=[*fine, line, "echo on"]))
    done = Stage(stage.here, job).start("exit 0", variables=variables)
    told = f"error: setup: {line}: this has failed, so the job ends\n"
    assert (done.returncode, done.stdout, done.stderr, stage.requeues) == (1, "", told, [])
    assert Stage(stage.here, replace(job, cluster=Cluster(setup=fine))).start("exit 75").returncode == 0
