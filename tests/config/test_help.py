"""The help answers at once and tells of everything."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs

ROOT = Path(__file__).parents[2]


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
        ("train.py", "dlib.config.configuration"),
        ("eval.py", "dlib.config.configuration"),
        ("generate.py", "dlib.process.errors"),
        ("prepare.py", "dlib.config.configuration"),
        ("runs.py", "dlib.process.errors"),
    ],
)
def test_help_imports_no_heavy_library(script: str, module: str) -> None:
    result = call("--help", options=("-X", "importtime"), script=script)
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert module in modules
    assert not modules & {"torch", "transformers", "lightning", "numpy", "wandb"}
    assert script != "train.py" or "omegaconf" not in modules


@pytest.mark.parametrize(
    ("script", "limit_seconds"),
    [("train.py", 1.0), ("eval.py", 1.0), ("generate.py", 1.0), ("prepare.py", 1.0), ("runs.py", 0.3)],
)
def test_help_answers_at_once(script: str, limit_seconds: float) -> None:
    # One of three, on the processor's clock: a busy machine is no fault of ours.
    assert any(seconds_of_help(script) < limit_seconds for _ in range(3))


def seconds_of_help(script: str) -> float:
    """Time on the processor that a script takes for its help."""
    started = seconds_of_children()
    call("--help", script=script)
    return seconds_of_children() - started


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


def test_help_of_prepare_lists_its_sub_commands_and_what_they_take() -> None:
    text = call("--help", script="prepare.py").stdout
    for command, flag in (("tokenizer", "--out FOLDER"), ("tokens", "--objective"), ("report", "--png FILE")):
        assert f"\n    {command}" in text
        shown = call(command, "--help", script="prepare.py").stdout
        for word in (flag, "--data_dir", "--tokenizer_type", "--config_path FILE"):
            assert word in shown
