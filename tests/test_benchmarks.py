"""The benchmarks run; what they measure is not asserted."""

import subprocess
import sys

from tests.launching import ROOT, environment


def test_target_projection_prints_a_ratio() -> None:
    small = ["--vocab_size", "300", "--rows", "1", "--length", "16", "--repeats", "1"]
    command = [sys.executable, "-m", "benchmarks.target_projection", *small]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert "x the time" in result.stdout, result.stderr
