"""The benchmarks run; what they measure is not asserted."""

import subprocess
import sys

import pytest

from tests.launching import ROOT, environment


def run(name: str, *flags: str, timeout_seconds: float = 120) -> str:
    """What a benchmark prints."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *flags]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout_seconds
    )
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def test_target_projection_prints_a_ratio() -> None:
    printed = run("target_projection", *"--vocab_size 300 --rows 1 --length 16 --repeats 1".split())
    assert "x the time" in printed


def test_resume_position_prints_a_ratio() -> None:
    printed = run("resume_position", *"--skipped 20 --rows 2 --length 16 --repeats 1".split())
    assert printed.count("x the time") == 2


def test_list_runs_prints_ratios() -> None:
    assert run("list_runs", *"--runs 3 --repeats 1".split()).count("x the time") == 3


@pytest.mark.slow
def test_exact_reduce_prints_ratios() -> None:
    assert "x the time" in run("exact_reduce", *"--steps 3 --repeats 1".split())


@pytest.mark.slow
def test_divergence_prints_a_table_whose_first_line_says_the_same() -> None:
    assert run("divergence", "--steps", "10", timeout_seconds=600).splitlines()[2] == "| nothing | yes | 0 | 0 |"


@pytest.mark.slow
def test_kill_resume_prints_a_table_and_finds_no_difference() -> None:
    printed = run("kill_resume", *"--kills 2 --seed 3".split(), timeout_seconds=600)
    assert "| all | 2 |" in printed
    assert printed.endswith("No difference.\n")
