"""The sbatch script, run by bash with stand-ins for srun and scontrol: when it is requeued, and when not."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pytest

from dlib.launch.clusters import Cluster, Container
from dlib.launch.job import Job
from dlib.launch.slurm_script import sbatch_script
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder

SRUN = """#!/bin/bash
printf '%s\\n' "$@" >{here}/words
{command}
"""
SCONTROL = """#!/bin/bash
echo "$@" >>{here}/requeues
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
    done = stage.start("exit 75")
    assert (done.returncode, stage.requeues) == (0, ["requeue 7"])


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
    assert "--array=0-11%3" in sbatch_script(array)
    assert "log-%a.txt" in sbatch_script(array)


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


def options(job: Job) -> list[str]:
    """The options of sbatch in a script."""
    return [shlex.split(line)[1] for line in sbatch_script(job).splitlines() if line.startswith("#SBATCH ")]


def test_a_cluster_is_said_in_options_of_sbatch(stage: Stage) -> None:
    cluster = Cluster(
        partition="gpu",
        account="lab",
        qos="long",
        nodes=2,
        gpus_per_node=8,
        cpus_per_task=4,
        mem="64G",
        time="08:00:00",
    )
    found = options(replace(stage.job, cluster=replace(cluster, options=["--constraint=a100"])))
    assert found == [
        *("--job-name=big", f"--output={stage.job.folder}/log.txt", f"--chdir={Path.cwd()}", "--open-mode=append"),
        *("--requeue", "--signal=USR1@120", "--partition=gpu", "--account=lab", "--qos=long", "--mem=64G"),
        *("--time=08:00:00", "--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--cpus-per-task=4"),
        "--constraint=a100",
    ]


IMAGE = Container(image="/shared/dlib.sqsh", mounts=["/data:/data"], writable=True)


def container_flags(job: Job) -> Sequence[str]:
    return [line.strip(" \\") for line in sbatch_script(job).splitlines() if "--container" in line]


def test_a_container_is_asked_of_pyxis(stage: Stage) -> None:
    cluster = Cluster(container=IMAGE, time="01:00:00", environment={"HF_HOME": "/hf"})
    job = replace(stage.job, cluster=cluster)
    flags = container_flags(job)
    assert flags[:2] == ["--container-image=/shared/dlib.sqsh", '--container-name=dlib-"$SLURM_JOB_ID"']
    mounts = shlex.split(flags[2])[0].removeprefix("--container-mounts=").split(",")
    assert f"{stage.here}/the runs:{stage.here}/the runs" in mounts
    assert mounts[-1] == "/data:/data"
    assert flags[3:] == [
        f"--container-workdir={job.cwd}",
        "--container-env=ENROOT_FORCE_OVERRIDE,NVIDIA_VISIBLE_DEVICES,HF_HOME",
        "--container-writable",
    ]
    script = sbatch_script(job)
    assert "export ENROOT_FORCE_OVERRIDE=y\nexport NVIDIA_VISIBLE_DEVICES=void\n" in script
    assert "  python " in script


def test_no_part_of_a_path_or_word_is_taken_for_an_arrays_index(stage: Stage) -> None:
    folder = stage.here / "INDEX 5%" / "job"
    job = replace(stage.job, folder=folder, command=("generate.py", "the {index}"))
    assert f"--output={stage.here}/INDEX 5%%/job/log.txt" in options(job)
    assert f"--output={stage.here}/INDEX 5%%/job/log-%a.txt" in options(replace(job, array="0-1"))
    assert "'the {index}'" in sbatch_script(job)


def test_a_line_break_cannot_add_lines_to_the_script(stage: Stage) -> None:
    with pytest.raises(UserError, match="an option of sbatch stands on one line"):
        sbatch_script(replace(stage.job, folder=stage.here / "a\ntouch b\nc"))
    with pytest.raises(UserError, match="sbatch drops a backslash from a path"):
        sbatch_script(replace(stage.job, cwd=stage.here / "a\\b"))
