"""The lock files as constraints, and the environments that are made of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.locked_versions import direct_dependencies, locked_versions
from tests.environments.installed_versions import PACKAGES, describe_versions
from tests.launching import ROOT

pytestmark = pytest.mark.oldest

TOY_LOCK = """
version: 1
package:
- {name: pytorch, version: 2.0.1, platform: linux-64, dependencies: {python: '>=3.10', libgcc: ''}}
- {name: pytorch, version: 2.9.1, platform: osx-arm64, dependencies: {python: '>=3.10'}}
- {name: Typing_Extensions, version: '4.10', platform: linux-64, dependencies: {python: ''}}
- {name: libgcc, version: 16.1.0, platform: linux-64, dependencies: {}}
"""
PLATFORMS = {"conda-lock.yml": "linux-64", "ppc64le.conda-lock.yml": "linux-ppc64le"}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock file of three packages."""
    path = tmp_path / "conda-lock.yml"
    path.write_text(TOY_LOCK)
    return path


def test_python_packages_of_the_platform_are_read_under_their_names_in_the_index(lock: Path) -> None:
    assert locked_versions(lock, "linux-64") == {"torch": "2.0.1", "typing-extensions": "4.10"}
    assert locked_versions(lock, "osx-arm64") == {"torch": "2.9.1"}


def test_a_lock_file_of_other_platforms_is_an_error(lock: Path) -> None:
    with pytest.raises(ValueError, match="no packages for linux-aarch64"):
        locked_versions(lock, "linux-aarch64")


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_locks_have_all_that_a_run_imports(name: str) -> None:
    assert set(PACKAGES) <= set(locked_versions(ROOT / name, PLATFORMS[name]))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_lower_bounds_are_the_versions_of_the_power_lock(package: str) -> None:
    locked = locked_versions(ROOT / "ppc64le.conda-lock.yml", "linux-ppc64le")[package]
    (lower_bound,) = [one.version for one in direct_dependencies()[package].specifier if one.operator == ">="]
    series = package == "omegaconf"  # one of 2.3
    assert locked.startswith(lower_bound) if series else locked == lower_bound


def test_constraints_for_the_oldest_set_leave_out_what_pyproject_bounds_itself() -> None:
    command = [sys.executable, "-m", "scripts.locked_versions", "ppc64le.conda-lock.yml", "linux-ppc64le"]
    printed = {
        which: subprocess.run([*command, which], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        for which in ("all", "transitive")
    }
    assert "torch==2.0.1" in printed["all"]
    left_out = {pin.partition("==")[0] for pin in set(printed["all"]) - set(printed["transitive"])}
    assert left_out <= set(direct_dependencies())
    assert "setuptools==79.0.1" in printed["transitive"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with the real scripts."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    return tmp_path


def call(project: Path, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs one of its scripts."""
    command = ["bash", str(project / "scripts" / script), *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("arguments", [[], ["newest"]], ids=["none", "newest"])
def test_an_unknown_environment_is_one_line_and_makes_nothing(project: Path, arguments: list[str]) -> None:
    result = call(project, "setup_as_locked.sh", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith("it is oldest or conda\n")
    assert [path.name for path in project.iterdir()] == ["scripts"]


@pytest.mark.parametrize("which", ["oldest", "conda"])
@pytest.mark.parametrize("status", [0, 1])
def test_tests_run_in_the_environment_and_end_with_its_versions_and_their_status(
    project: Path, which: str, status: int
) -> None:
    python = project / f".venv-{which}" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@"\n[ "$2" != pytest ] || exit {status}\n')
    (project / "scripts" / "setup_as_locked.sh").write_text('#!/bin/sh\necho "made $1"\n')
    python.chmod(0o755)
    result = call(project, "test.sh", f"--{which}", "-k", "two words")
    assert result.returncode == status, result.stderr
    assert result.stdout.splitlines() == [
        f"made {which}",
        "-m pytest -m oldest and not slow -k two words",
        "-m tests.environments.installed_versions",
    ]


def test_the_closing_line_names_every_version() -> None:
    line = describe_versions()
    assert line.startswith(f"Python {sys.version.split()[0]}, torch ")
    assert all(f" {name} " in line for name in PACKAGES)


@pytest.mark.slow
def test_the_oldest_set_installs_and_a_second_call_does_nothing(project: Path) -> None:
    for name in ("pyproject.toml", "ppc64le.conda-lock.yml"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(ROOT / "tests" / "environments", project / "tests" / "environments")
    command = [str(project / "scripts" / "setup_as_locked.sh"), "oldest"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert first.returncode == 0, first.stderr
    assert "Installing into .venv-oldest" in first.stdout
    second = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PIP_TIMEOUT": "never"})
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
