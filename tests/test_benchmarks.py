"""The benchmarks run; what they measure is not asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak_parts import steps, workspace
from tests.launching import ROOT, environment, start_warm


def run(name: str, *flags: str, timeout_seconds: float = 120) -> str:
    """What a benchmark prints."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *flags]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout_seconds
    )
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def run_warm(name: str, *flags: str, scratch: Path) -> str:
    """What a benchmark prints, in a process that has the libraries imported already."""
    with start_warm(flags, scratch, program=f"benchmarks/{name}.py") as running:
        result = running.result()
    assert result.status == 0, result.stderr + result.stdout
    return result.stdout


def test_target_projection_prints_a_ratio(tmp_path: Path) -> None:
    flags = "--vocab_size 300 --rows 1 --length 16 --repeats 1".split()
    printed = run_warm("target_projection", *flags, scratch=tmp_path)
    assert "x the time" in printed


def test_resume_position_prints_a_ratio(tmp_path: Path) -> None:
    flags = "--skipped 20 --rows 2 --length 16 --repeats 1".split()
    printed = run_warm("resume_position", *flags, scratch=tmp_path)
    assert printed.count("x the time") == 2


def test_list_runs_prints_ratios() -> None:
    assert run("list_runs", *"--runs 3 --repeats 1".split()).count("x the time") == 3


def test_tokenize_memory_goes_on_after_a_kill(tmp_path: Path) -> None:
    printed = run("tokenize_memory", *f"--megabytes 3 --killed_only --folder {tmp_path}".split())
    assert "store: " in printed


def test_a_workspace_of_a_few_runs_is_listed_dropped_and_purged(tmp_path: Path) -> None:
    rows = list(workspace.measure(3, tmp_path))
    assert {row.problem for row in rows} <= {None, "slow"}
    assert len(rows) == 13


@pytest.mark.parametrize(("leaked_mib_a_step", "problem"), [(0.0, None), (0.001, "grows by 10.38%")])
def test_what_grows_with_the_steps_is_told_apart_from_noise(leaked_mib_a_step: float, problem: str | None) -> None:
    samples = [
        {"step": float(step), "seconds": step / 100, "memory": 400 + 20 * (step % 300 == 0) + leaked_mib_a_step * step}
        for step in range(0, 100_000, 100)
    ]
    (row,) = steps.verdicts(samples, 100_000)
    assert row.problem == problem


@pytest.mark.slow
def test_soak_prints_a_table_for_each_part(tmp_path: Path) -> None:
    sizes = "--steps 200 --runs 3 --lines 1000 --vocabulary 1000 --builders 2 --drops 1 --checkpoints 3"
    command = [sys.executable, "-m", "benchmarks.soak", *sizes.split(), "--output", str(tmp_path / "soak.json")]
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=1200)
    assert result.returncode in (0, 1), result.stderr  # so short a run need not be flat
    assert result.stdout.count("| figure | | verdict |") == 7
    assert (tmp_path / "soak.json").is_file()


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
