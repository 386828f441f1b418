"""The help answers at once and tells of everything; a slip of the keyboard is told with the nearest right word."""

import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs

ROOT = Path(__file__).parents[1]


def call(*arguments: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Runs `train.py`."""
    command = [sys.executable, *options, "train.py", *arguments]
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


def test_help_imports_no_heavy_library() -> None:
    result = call("--help", options=("-X", "importtime"))
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "dlib.config" in modules
    assert not modules & {"torch", "transformers", "lightning", "numpy", "wandb"}


def test_help_answers_within_a_second() -> None:
    seconds = []
    for _ in range(3):  # the fastest of three: a busy machine is no fault of ours
        started = time.monotonic()
        call("--help")
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1


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
