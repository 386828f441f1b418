"""What the launchers' variables say about a process, and that only the first one speaks."""

import logging
import os
import subprocess
import sys
import time

import pytest

from dlib.process.errors import UserError
from dlib.process.ranks import global_rank, is_rank_zero, local_rank, logger, say, world_size

VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_TASKS_PER_NODE",
)
LIGHTNING_CHILD = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}
TORCHRUN = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
SRUN = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"}
JOB_SCRIPT = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "4"}
SRUN_SHELL = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_TASKS": "1"}
JOB_OF_A_STEP = SRUN | {"SLURM_PROCID": "0", "SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_TASKS_PER_NODE": "1"}
"""sbatch within a step of four tasks: the job inherits what it does not set itself."""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 0, 1)),
        (LIGHTNING_CHILD, (1, 1, 2)),
        (TORCHRUN, (5, 1, 8)),
        (SRUN, (3, 1, 4)),
        (JOB_SCRIPT, (0, 0, 1)),
        (SRUN_SHELL, (0, 0, 1)),
        (JOB_OF_A_STEP, (0, 0, 1)),
        (SRUN_SHELL | LIGHTNING_CHILD, (1, 1, 2)),
    ],
    ids=[
        "alone",
        "lightning-child",
        "torchrun",
        "srun",
        "job-script",
        "srun-shell",
        "job-of-a-step",
        "lightning-child-in-srun-shell",
    ],
)
def test_ranks_follow_the_launcher(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[int, int, int]
) -> None:
    set_environment(monkeypatch, variables)
    assert (global_rank(), local_rank(), world_size()) == expected
    assert is_rank_zero() == (expected[0] == 0)


def test_a_variable_that_is_no_number_is_a_mistake_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {"RANK": "first"})
    with pytest.raises(UserError, match="RANK=first in the environment is no whole number: unset it"):
        is_rank_zero()


def test_the_first_process_of_a_further_machine_is_not_the_first_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {"NODE_RANK": "1"})
    assert not is_rank_zero()


def test_first_process_speaks_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    logger().warning("careful")
    logger().debug("unasked")
    assert capsys.readouterr() == ("", "hello\nwarning: careful\n")


def test_other_processes_are_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    set_environment(monkeypatch, LIGHTNING_CHILD)
    say("hello")
    logger().warning("careful")
    assert capsys.readouterr() == ("", "")


def test_a_message_is_printed_once_when_others_configure_logging(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(root)
    try:
        say("hello")
    finally:
        logging.getLogger().removeHandler(root)
    assert capsys.readouterr().err == "hello\n"


def test_a_percent_sign_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    say("5% of %s")
    assert capsys.readouterr().err == "5% of %s\n"


def test_the_lowest_floor_imports_no_torch() -> None:
    command = (
        "import sys, dlib.process.ranks, dlib.config.configuration, dlib.process.seeding, dlib.process.errors; "
        "print([name for name in ('torch', 'transformers', 'lightning') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_a_further_process_ends_when_its_launcher_was_killed() -> None:
    child = (
        "import time; from dlib.process.ranks import end_with_launcher; "
        "end_with_launcher(); print('up'); time.sleep(60)"
    )
    environment = {**os.environ, **LIGHTNING_CHILD, "PYTHONUNBUFFERED": "1"}
    # The child inherits the pipe, which ends when the last process that holds it does.
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
        started = time.monotonic()
        assert process.stdout.read() == b""
        assert time.monotonic() - started < 10
