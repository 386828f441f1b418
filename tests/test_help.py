"""The help answers at once and tells of everything; a slip of the keyboard is told with the nearest right word."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs

ROOT = Path(__file__).parents[1]


def call(
    *arguments: str, options: tuple[str, ...] = (), script: str = "train.py"
) -> "subprocess.CompletedProcess[str]":
    """Runs a script."""
    command = [sys.executable, *options, script, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def help_text() -> str:
    """What `--help` prints."""
    result = call("--help")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_help_lists_every_field_under_its_group(help_text: str) -> None:
    for group in fields(ExperimentArgs):
        assert f"\n{group.name}" in help_text
        for field in fields(getattr(ExperimentArgs(), group.name)):
            assert f"--{field.name} " in help_text, f"{group.name}.{field.name}"
    for flag in ("--config_path", "--plan", "-n ", "-d ", "-b "):
        assert flag in help_text


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ("train.py", "dlib.config"),
        ("evaluate.py", "dlib.config"),
        ("generate.py", "dlib.errors"),
        ("runs.py", "dlib.errors"),
    ],
)
def test_help_imports_no_heavy_library(script: str, module: str) -> None:
    result = call("--help", options=("-X", "importtime"), script=script)
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert module in modules
    assert not modules & {"torch", "transformers", "lightning", "numpy", "wandb"}


@pytest.mark.parametrize(
    ("script", "limit_seconds"), [("train.py", 1.0), ("evaluate.py", 1.0), ("generate.py", 1.0), ("runs.py", 0.3)]
)
def test_help_answers_at_once(script: str, limit_seconds: float) -> None:
    seconds = []
    for _ in range(3):  # the fastest of three, on the processor's clock: a busy machine is no fault of ours
        started = seconds_of_children()
        call("--help", script=script)
        seconds.append(seconds_of_children() - started)
    assert min(seconds) < limit_seconds


def seconds_of_children() -> float:
    """Time on the processor of all processes that were started here and have ended."""
    used = os.times()
    return used.children_user + used.children_system


def test_help_of_runs_lists_its_sub_commands_and_their_flags() -> None:
    text = call("--help", script="runs.py").stdout
    for command in "list show compare diff plot export import drop checkpoints reproduce".split():
        assert f"\n    {command}" in text
        assert "--out_dir FOLDER" in call(command, "--help", script="runs.py").stdout
    text = call("reproduce", "--help", script="runs.py").stdout
    for word in ("RUN", "--steps N", "--data_dir", "--present_code", "--keep"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: COMMAND; see runs.py --help"),
        (["reproduc"], "invalid choice: 'reproduc'"),
        (["reproduce", "runs/first", "--stepps", "3"], "unrecognized arguments: --stepps 3; see runs.py --help"),
        (
            ["reproduce", "runs/first", "--steps", "few"],
            "argument --steps: invalid int value: 'few'; see runs.py repro",
        ),
        (["reproduce", "runs/nowhere", "--present-code"], "no run 'runs/nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_slip_in_runs_is_one_line_and_status_2(arguments: list[str], told: str) -> None:
    result = call(*arguments, script="runs.py")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("error: ")
    assert told in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--learning_rat", "1"], "unknown flag --learning_rat: did you mean --learning_rate?"),
        (["--lerning-rate", "1"], "did you mean --learning_rate?"),
        (["--objective", "mln"], "did you mean mlm?"),
        (["--learning_rate", "fast"], "--learning_rate"),
        (["--training_goal", "3 epoks"], "--training_goal"),
        (["--max_time", "45"], "--max_time"),
        (["-b", "0"], "--batch_size"),
        (["--trackers", "wandbb", "--plan"], "--trackers: 'wandbb' is none of"),
        (["--config_path", "configs/nowhere.yml"], "configs/nowhere.yml"),
        (["--name"], "--name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_slip_is_one_line_and_status_2(arguments: list[str], told: str) -> None:
    result = call("-n", "never", *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr
    assert not (ROOT / "runs" / "never").exists()


def test_a_missing_name_is_told() -> None:
    result = call()
    assert result.returncode == 2
    assert "--name" in result.stderr
