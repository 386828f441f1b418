"""`scripts/train.sh`: what it makes of environment variables, here and in a job whose commands of SLURM stand in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repositories import git

ROOT = Path(__file__).parents[1]
TRAIN = """
import os, sys
print(sys.argv[1:], "SLURM_PROCID" in os.environ)
sys.exit(int(os.environ.get("TOY_STATUS", "0")))
"""
JOB = {"SLURM_JOB_ID": "7", "ENVIRONMENT": "BATCH", "SLURM_PROCID": "0", "DLIB_CONFIG": "a.yml"}


def test_what_sbatch_prints_beside_the_script_is_no_code() -> None:
    names = ["slurm-46.out", "scripts/slurm-46_3.out"]
    assert git(ROOT, "check-ignore", *names).split() == names


def test_each_variable_stands_in_the_docs() -> None:
    names = set(re.findall(r"DLIB_\w+", (ROOT / "scripts" / "train.sh").read_text()))
    page = (ROOT / "docs" / "clusters.md").read_text()
    assert {name for name in names if f"| `{name}" not in page} == set()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a toy train.py, and a bin/ with toy commands of SLURM."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "train.py").write_text(TRAIN)
    commands = {
        "scripts/setup.sh": "",
        "bin/srun": 'shift; echo srun $SRUN_CPUS_PER_TASK; exec "$@"\n',
        "bin/scontrol": 'echo "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}")
        (tmp_path / name).chmod(0o755)
    shutil.copy(ROOT / "scripts" / "train.sh", tmp_path / "scripts")
    return tmp_path


def call(project: Path, *words: str, cwd: str | Path = "/", **variables: str) -> "subprocess.CompletedProcess[str]":
    """Calls the script from elsewhere."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "DLIB_"))}
    path = f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(project / "scripts" / "train.sh"), *words],
        env={**ours, "PATH": path, "DLIB_PYTHON": sys.executable, **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("variables", "flags"),
    [
        ({"DLIB_CONFIG": "a.yml"}, ["--config_path", "a.yml"]),
        ({"DLIB_RESUME": "runs/x"}, ["--resume", "runs/x"]),
        ({**JOB, "SLURM_STEP_ID": "0"}, ["--config_path", "a.yml"]),
        ({**JOB, "DLIB_FORCE_LOCAL": "true"}, ["--num_nodes", "1", "--config_path", "a.yml"]),
    ],
    ids=["config", "resume", "task", "forced"],
)
def test_one_process_is_started_here(project: Path, variables: dict[str, str], flags: list[str]) -> None:
    done = call(project, "-n", "two words", TOY_STATUS="75", **variables)
    is_task = "SLURM_STEP_ID" in variables
    assert (done.returncode, done.stdout) == (75, f"{[*flags, '-n', 'two words']} {is_task}\n"), done.stderr


@pytest.mark.parametrize(("name", "flag"), [("DLIB_CONFIG", "--config_path"), ("DLIB_RESUME", "--resume")])
def test_a_path_is_looked_for_where_the_user_stands_first(
    project: Path, tmp_path_factory: pytest.TempPathFactory, name: str, flag: str
) -> None:
    here = tmp_path_factory.mktemp("a folder of the user's")
    (here / "mine").touch()
    for folder in (here, project):
        (folder / "both").touch()
    (project / "theirs").touch()
    found = {"mine": f"{here}/mine", "both": f"{here}/both", "theirs": "theirs", str(here / "mine"): f"{here}/mine"}
    for word, path in found.items():
        done = call(project, cwd=here, **{name: word})
        assert done.stdout == f"{[flag, path]} False\n", done.stderr


def test_a_job_starts_its_tasks_and_goes_back_into_the_queue_when_it_was_stopped(project: Path) -> None:
    done = call(project, **JOB)
    assert (done.returncode, done.stdout) == (0, "srun\n['--config_path', 'a.yml'] True\n"), done.stderr
    done = call(project, **JOB, TOY_STATUS="75")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (75, "requeue 7")
    done = call(project, **JOB, TOY_STATUS="1")
    assert (done.returncode, "requeue" in done.stdout) == (1, False)
    done = call(project, **JOB, TOY_STATUS="75", SLURM_RESTART_COUNT="50")
    assert (done.returncode, "requeue" in done.stdout) == (2, False)
    assert done.stderr == "error: put back into the queue 50 times: sbatch it again, or set DLIB_MAX_REQUEUES\n"


def test_a_copy_that_sbatch_runs_finds_the_repository(project: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool" / "job"
    shutil.copytree(project / "scripts", spool, ignore=shutil.ignore_patterns("setup.sh"))
    copied = tmp_path / "spool"
    shutil.move(spool, copied / "scripts")
    (copied / "bin").symlink_to(project / "bin")
    done = call(copied, **JOB, SLURM_SUBMIT_DIR=str(project))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "srun"), done.stderr
    assert (
        call(copied, **JOB).stderr == f"error: no train.py in {copied}: call sbatch in the folder of the repository\n"
    )


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "error: set DLIB_CONFIG to a configuration, or DLIB_RESUME to the run that is to go on\n"),
        ({"DLIB_CONFIG": "a", "DLIB_RESUME": "b"}, "error: DLIB_CONFIG and DLIB_RESUME: give one, as a run that goes "),
    ],
)
def test_what_is_missing_or_contradicts_is_told(project: Path, variables: dict[str, str], told: str) -> None:
    done = call(project, **variables)
    assert done.returncode == 2
    assert done.stderr.startswith(told)


def test_a_task_has_the_cores_that_the_job_asked_for(project: Path) -> None:
    assert call(project, **JOB, SLURM_CPUS_PER_TASK="8").stdout.startswith("srun 8\n")
