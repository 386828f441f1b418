"""The locks: every range of pyproject.toml holds in them, and they are current, whole and readable.

conda-lock itself judges, in the environment that scripts/conda_lock.sh runs it in.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts import conda_environments

ROOT = Path(__file__).parents[1]
ENVIRONMENT_OF = {"conda-lock.yml": "environment.yml", "ppc64le.conda-lock.yml": "ppc64le.environment.yml"}
PLATFORMS = [("conda-lock.yml", "linux-64"), ("conda-lock.yml", "osx-arm64")]
PLATFORMS += [("ppc64le.conda-lock.yml", "linux-ppc64le")]


def locked(lock: str, platform: str) -> dict[str, str]:
    packages = yaml.load((ROOT / lock).read_text(), yaml.CSafeLoader)["package"]
    return {one["name"]: one["version"] for one in packages if one["platform"] == platform}


@pytest.mark.parametrize("environment", ENVIRONMENT_OF.values())
def test_the_environment_files_say_the_ranges_of_pyproject(environment: str) -> None:
    assert (ROOT / environment).read_text() == conda_environments.with_ranges(environment), "stale: run scripts/lock.sh"


@pytest.mark.parametrize(("lock", "platform"), PLATFORMS)
def test_every_range_of_pyproject_holds_in_every_conda_lock(lock: str, platform: str) -> None:
    packages = locked(lock, platform)
    for requirement in conda_environments.ranges(conda_environments.EXTRAS[ENVIRONMENT_OF[lock]]):
        name = conda_environments.CONDA_NAMES.get(requirement.name, requirement.name)
        if platform == "osx-arm64" and requirement.name in conda_environments.ONLY_ON:
            assert name not in packages
        else:
            assert requirement.specifier.contains(packages[name]), f"{requirement} against {packages[name]}"


def test_a_conda_lock_names_no_package_of_the_python_index() -> None:
    for lock in ENVIRONMENT_OF:
        packages = yaml.load((ROOT / lock).read_text(), yaml.CSafeLoader)["package"]
        assert {one["manager"] for one in packages} == {"conda"}
        assert all(one["hash"]["md5"] and one["hash"]["sha256"] for one in packages)


@pytest.fixture(scope="module")
def tools() -> list[str]:
    """The beginning of a command that runs in conda-lock's environment."""
    pinned = re.search(r"conda-lock==[\d.]+", (ROOT / "scripts" / "conda_lock.sh").read_text())
    assert pinned is not None
    command = [str(ROOT / "scripts" / "uv.sh"), "tool", "run", "--quiet", "--from", pinned[0]]
    # Continuous integration reaches an index: there a missing conda-lock is a failure.
    if not os.environ.get("CI") and subprocess.run([*command, "conda-lock", "--version"], timeout=300).returncode:
        pytest.skip("conda-lock cannot be had here: it comes from the Python index, by uv")
    return command


def write_idle_conda(folder: Path) -> Path:
    """A conda that says its version and solves nothing: only a lock that is current does without it."""
    folder.mkdir()
    (folder / "conda").write_text('#!/bin/sh\n[ "$1" = --version ] && echo conda 24.1.0\n')
    (folder / "conda").chmod(0o755)
    return folder / "conda"


def check_hash(tools: list[str], folder: Path, lock: str) -> str:
    """What conda-lock says of the copies in `folder` when it cannot solve anything."""
    command = [*tools, "conda-lock", "lock", "--check-input-hash", "--conda", str(write_idle_conda(folder / "bin"))]
    command += ["--file", ENVIRONMENT_OF[lock], "--lockfile", lock]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300).stderr


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with the environment files, the locks and the virtual packages."""
    for name in (*ENVIRONMENT_OF, *ENVIRONMENT_OF.values(), "virtual-packages.yml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("lock", ENVIRONMENT_OF)
def test_the_content_hash_of_a_conda_lock_is_current(tools: list[str], copies: Path, lock: str) -> None:
    said = check_hash(tools, copies, lock)
    assert "Spec hash already locked" in said, said
    assert "Locking dependencies" not in said, "stale: run scripts/lock.sh"


@pytest.mark.parametrize("changed", ["ppc64le.environment.yml", "virtual-packages.yml"])
def test_a_conda_lock_is_stale_once_its_environment_changes(tools: list[str], copies: Path, changed: str) -> None:
    text = (copies / changed).read_text()
    (copies / changed).write_text(text.replace("rich >=13", "rich >=14").replace('__cuda: "11.8"', '__cuda: "11.7"'))
    assert "Locking dependencies" in check_hash(tools, copies, "ppc64le.conda-lock.yml")


@pytest.mark.slow  # what breaks it breaks the reading of the locks above, too
@pytest.mark.parametrize("lock", ENVIRONMENT_OF)
def test_conda_lock_renders_a_list_with_a_hash_for_every_package(tools: list[str], tmp_path: Path, lock: str) -> None:
    platforms = [platform for one, platform in PLATFORMS if one == lock]
    chosen = [word for platform in platforms for word in ("-p", platform)]
    render = [*tools, "conda-lock", "render", "-k", "explicit", *chosen, str(ROOT / lock)]
    subprocess.run(render, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    for platform in platforms:
        lines = (tmp_path / f"conda-{platform}.lock").read_text().splitlines()
        addresses = [line for line in lines if "://" in line]
        assert "@EXPLICIT" in lines
        assert len(addresses) == len(locked(lock, platform))
        assert all(re.search(r"#[0-9a-f]{32}", address) for address in addresses)


def test_every_dependency_of_every_package_is_met_within_its_lock(tools: list[str], tmp_path: Path) -> None:
    script = str(ROOT / "tests" / "unmet_dependencies.py")

    def unmet(*locks: Path) -> str:
        command = [*tools, "python", script, *map(str, locks)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout

    assert unmet(*(ROOT / lock for lock in ENVIRONMENT_OF)) == ""
    content = yaml.load((ROOT / "conda-lock.yml").read_text(), yaml.CSafeLoader)
    for package in content["package"]:
        if package["name"] == "tokenizers":
            package["version"] = "0.1"
    (tmp_path / "conda-lock.yml").write_text(yaml.dump(content, Dumper=yaml.CSafeDumper))
    assert "needs tokenizers" in unmet(tmp_path / "conda-lock.yml")


@pytest.mark.parametrize("image", ["full", "ppc64le", "pip"])
def test_the_tag_of_an_image_tells_the_versions_of_its_lock(image: str) -> None:
    power, main = locked("ppc64le.conda-lock.yml", "linux-ppc64le"), locked("conda-lock.yml", "linux-64")
    cpu = re.search(r"^torch==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert cpu is not None
    expected = {
        "full": f"torch-{main['pytorch']}-cuda-{main['cuda-version']}",
        "ppc64le": f"torch-{power['pytorch']}-cuda-{power['cuda-version']}-ppc64le",
        "pip": f"torch-{cpu[1]}-cpu",
    }
    command = [str(ROOT / "scripts" / "image_tag.sh"), image]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == f"{expected[image]}\n"


@pytest.mark.slow
def test_what_cannot_be_locked_is_told_in_one_line_and_leaves_every_lock_as_it_was(copies: Path) -> None:
    write_idle_conda(copies / "bin")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, copies)
    shutil.copytree(ROOT / "scripts", copies / "scripts")
    project = copies / "pyproject.toml"
    project.write_text(project.read_text().replace('"rich>=13"', '"rich>=13.1"'))
    before = {path.name: path.read_bytes() for path in copies.iterdir() if path.is_file()}
    environment = {**os.environ, "PATH": f"{copies / 'bin'}:{os.environ['PATH']}", "DLIB_PYTHON": sys.executable}
    command = [str(copies / "scripts" / "lock.sh")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert result.stderr.startswith("error: environment.yml cannot be locked: ")
    assert len(result.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in copies.iterdir() if path.is_file()} == before
    assert not list(copies.glob(".locking.*"))
