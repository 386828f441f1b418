"""The benchmarks run; what they measure is not asserted."""

import subprocess
import sys

import pytest

from tests.launching import ROOT, environment


def test_target_projection_prints_a_ratio() -> None:
    small = ["--vocab_size", "300", "--rows", "1", "--length", "16", "--repeats", "1"]
    command = [sys.executable, "-m", "benchmarks.target_projection", *small]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert "x the time" in result.stdout, result.stderr


@pytest.mark.slow
def test_kill_resume_prints_a_table_and_finds_no_difference() -> None:
    command = [sys.executable, "-m", "benchmarks.kill_resume", "--kills", "2", "--seed", "3"]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "| all | 2 |" in result.stdout
    assert result.stdout.endswith("No difference.\n")


def test_resume_position_prints_a_ratio() -> None:
    small = ["--skipped", "20", "--rows", "2", "--length", "16", "--repeats", "1"]
    command = [sys.executable, "-m", "benchmarks.resume_position", *small]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert result.stdout.count("x the time") == 2, result.stderr
