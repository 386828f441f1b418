"""The scripts of a newcomer's first minute, and the lock file that they install.

`setup.sh` really runs here, with real virtual environments and pip, on a toy lock file: its `torch` is an empty
package of a folder of wheels that stands for the package index.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.conda_environments import EXTRAS, ranges

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
TOY_LOCK = "torch==1.0\ntoy==1.0\n"

needs_supported_python = pytest.mark.skipif(
    not (3, 11) <= sys.version_info < (3, 14), reason="setup.sh takes Python 3.11 to 3.13"
)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has two builds of torch")


def write_wheel(folder: Path, name: str, version: str) -> None:
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"__version__ = {version!r}\n")
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")


class ToyProject:
    """A project folder with the real scripts, a toy lock file and the packages that it names."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a project"
        self.wheels = folder / "wheels"
        self.lock = self.root / "requirements.lock"
        self.stamp = self.root / ".venv" / "installed"
        self.root.mkdir()
        self.wheels.mkdir()
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        for name, version in (("torch", "1.0"), ("torch", "1.0+cpu"), ("toy", "1.0"), ("toy", "2.0")):
            write_wheel(self.wheels, name, version)
        self.lock.write_text(TOY_LOCK)

    def copy(self, folder: Path) -> "ToyProject":
        """Another project that is set up as this one."""
        other = ToyProject(folder)
        shutil.copytree(self.root / ".venv", other.root / ".venv", symlinks=True)
        return other

    def environment(self, **changes: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "DLIB_"))}
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri(), "PIP_CONFIG_FILE": os.devnull}
        return {**kept, **pip, "UV_OFFLINE": "1", "PYTHON": sys.executable, "TORCH": "cpu", **changes}

    def start(self, script: str, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
        command = ["bash", str(self.root / "scripts" / script), *arguments]
        return subprocess.Popen(
            command,
            cwd="/",
            env=self.environment(**changes),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, script: str, *arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(script, *arguments, **changes)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def installed_version(self, package: str) -> str:
        command = [str(self.root / ".venv/bin/python"), "-c", f"import {package}; print({package}.__version__)"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def bare_project(tmp_path: Path) -> ToyProject:
    return ToyProject(tmp_path)


@pytest.fixture(scope="module")
def first_calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ToyProject, list[tuple[int, str, str]]]:
    """A project set up by two calls that started together, and what each (status, stdout, stderr) was."""
    project = ToyProject(tmp_path_factory.mktemp("toy"))
    processes = [project.start("setup.sh") for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    return project, [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


@pytest.fixture
def project(first_calls: tuple[ToyProject, Any], tmp_path: Path) -> ToyProject:
    """A copy of the project of `first_calls`: pip would take seconds to bring that one back after each test."""
    return first_calls[0].copy(tmp_path)


@needs_supported_python
@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
def test_of_two_calls_that_start_together_one_installs(first_calls: tuple[ToyProject, Any]) -> None:
    _, calls = first_calls
    assert [status for status, _, _ in calls] == [0, 0], calls
    assert sum("Installing torch 1.0 for CPU" in stdout for _, stdout, _ in calls) == 1


@needs_supported_python
def test_setup_installs_what_the_lock_names_and_the_cpu_build(project: ToyProject) -> None:
    assert project.installed_version("toy") == "1.0"
    assert project.installed_version("torch") == "1.0+cpu"


@needs_supported_python
@pytest.mark.parametrize("chosen", [{}, {"PYTHON": "", "TORCH": "auto"}], ids=["the same choice", "no choice"])
def test_a_second_call_starts_no_pip_and_says_nothing(project: ToyProject, chosen: dict[str, str]) -> None:
    # pip refuses to start with a time-out that is no number.
    result = project.run("setup.sh", PIP_TIMEOUT="never", **chosen)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@needs_supported_python
def test_a_changed_lock_file_is_installed(project: ToyProject) -> None:
    project.lock.write_text(TOY_LOCK.replace("toy==1.0", "toy==2.0"))
    assert project.run("setup.sh").returncode == 0
    assert project.installed_version("toy") == "2.0"


@needs_supported_python
def test_an_installation_that_failed_never_looks_finished(project: ToyProject) -> None:
    project.lock.write_text(TOY_LOCK + "missing==1.0\n")
    result = project.run("setup.sh")
    assert result.returncode == 2
    assert "missing==1.0" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: the installation into .venv failed")
    assert not project.stamp.exists()

    write_wheel(project.wheels, "missing", "1.0")
    assert project.run("setup.sh").returncode == 0
    assert project.installed_version("missing") == "1.0"


@needs_supported_python
@linux_only
def test_another_build_of_torch_replaces_the_first_and_stays(project: ToyProject) -> None:
    result = project.run("setup.sh", TORCH="cuda")
    assert result.returncode == 0, result.stderr
    assert "with CUDA" in result.stdout
    assert project.installed_version("torch") == "1.0"
    assert project.run("setup.sh", TORCH="auto").stdout == ""


@needs_supported_python
@linux_only
def test_a_missing_cpu_build_is_told_with_what_to_do(project: ToyProject) -> None:
    project.lock.write_text(TOY_LOCK.replace("torch==1.0", "torch==9.9"))
    result = project.run("setup.sh")
    assert result.returncode == 2
    assert "no CPU build of torch 9.9" in result.stderr
    assert "TORCH=cuda" in result.stderr


TOY_TRAIN = """
import pathlib, sys
folder = pathlib.Path("runs", sys.argv[sys.argv.index("-n") + 1])
folder.mkdir(parents=True, exist_ok=True)
(folder / "status.json").write_text('{"state": "finished"}')
print("trained", sys.argv[1:])
"""


@needs_supported_python
def test_a_demo_trains_under_a_new_name_once_the_last_one_is_finished(project: ToyProject) -> None:
    (project.root / "train.py").write_text(TOY_TRAIN)
    for room in ("demo", "process"):
        shutil.copytree(ROOT / "dlib" / room, project.root / "dlib" / room, dirs_exist_ok=True)
    (project.root / "dlib" / "demo" / "__main__.py").write_text("import sys; print('shown', sys.argv[1])")
    for name in ("demo-clm", "demo-clm-2"):
        result = project.run("demo.sh", "clm", "--seed", "2")
        assert result.returncode == 0, result.stderr
        assert f"['--config_path', 'configs/demo-clm.yml', '-n', '{name}', '--offline', '--seed', '2']" in result.stdout
        assert result.stdout.splitlines()[-1] == f"shown runs/{name}"
    assert (project.root / "data" / "demo" / "dev.txt").stat().st_size > 0
    result = project.run("demo.sh", "--seed", "3")
    assert "['--config_path', 'configs/demo.yml', '-n', 'demo-mlm', '--offline', '--seed', '3']" in result.stdout
    assert result.stdout.splitlines()[-1] == "shown runs/demo-mlm"


@pytest.mark.parametrize("version", ["3.10.13", "3.14.0", "2.7.18"])
def test_an_unsupported_interpreter_is_refused_in_one_line(
    bare_project: ToyProject, tmp_path: Path, version: str
) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\necho {version} /usr\n")
    interpreter.chmod(0o755)
    result = bare_project.run("setup.sh", PYTHON=str(interpreter))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert f"is Python {version}" in result.stderr
    assert "PYTHON=" in result.stderr
    assert not (bare_project.root / ".venv").exists()


@pytest.mark.parametrize(
    ("script", "arguments", "changes", "message"),
    [
        ("setup.sh", [], {"PYTHON": "/no/such/python"}, "'/no/such/python' does not run"),
        ("setup.sh", [], {"TORCH": "rocm"}, "TORCH=rocm"),
        ("demo.sh", ["gan"], {}, "no demo 'gan'"),
        ("demo.sh", ["-n", "mine"], {}, "-n: a demo names its own run"),
        ("demo.sh", ["clm", "--seed", "2", "--name=mine"], {}, "--name=mine: a demo names its own run"),
        ("demo.sh", ["--out_dir", "elsewhere"], {}, "--out_dir: a demo names its own run, in runs/"),
        ("demo.sh", ["mlm", "--out-dir=elsewhere"], {}, "--out-dir=elsewhere: a demo names its own run"),
        ("check.sh", ["--fast"], {}, "unknown argument '--fast'"),
    ],
)
def test_a_wrong_argument_is_one_line_and_installs_nothing(
    bare_project: ToyProject, script: str, arguments: list[str], changes: dict[str, str], message: str
) -> None:
    result = bare_project.run(script, *arguments, **changes)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not (bare_project.root / ".venv").exists()


def test_an_environment_that_is_there_is_used_and_nothing_is_installed(bare_project: ToyProject) -> None:
    result = bare_project.run("setup.sh", DLIB_PYTHON=sys.executable)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    (bare_project.root / "tests").mkdir()
    (bare_project.root / "tests" / "test_interpreter.py").write_text(
        f"import sys\n\ndef test_interpreter():\n    assert sys.executable == {sys.executable!r}\n"
    )
    assert "1 passed" in bare_project.run("test.sh", DLIB_PYTHON=sys.executable).stdout
    assert not (bare_project.root / ".venv").exists()


def test_an_environment_that_is_not_there_is_refused_in_one_line(bare_project: ToyProject) -> None:
    result = bare_project.run("test.sh", DLIB_PYTHON="/no/such/python")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: DLIB_PYTHON=/no/such/python ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_scripts_are_executable_and_parse(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def lock_lines() -> list[str]:
    return (ROOT / "requirements.lock").read_text().splitlines()


def lock_pins() -> dict[str, str]:
    requirements = [Requirement(line) for line in lock_lines() if not line.startswith("#")]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in requirements}


def test_the_lock_file_holds_exact_versions_and_no_address() -> None:
    for line in lock_lines():
        pin = line.removeprefix("# cuda: ")
        if not pin.startswith("#"):
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ; .+)?", pin)
        assert "://" not in line
        assert " @ " not in line


def test_the_lock_file_satisfies_every_range_of_pyproject() -> None:
    pins = lock_pins()
    for requirement in ranges(EXTRAS["environment.yml"]):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_a_machine_without_a_gpu_installs_no_cuda_package() -> None:
    assert not [name for name in lock_pins() if name.startswith(("nvidia-", "cuda-", "triton"))]
    assert any(line.startswith("# cuda: nvidia-cudnn") for line in lock_lines())


@pytest.mark.slow
@needs_supported_python
def test_the_real_lock_file_installs(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    environment = {**os.environ, "PYTHON": sys.executable, "TORCH": "cpu"}
    subprocess.run([str(tmp_path / "scripts" / "setup.sh")], check=True, env=environment)
    imports = "import lightning, omegaconf, simple_parsing, torch, transformers, wandb"
    subprocess.run([str(tmp_path / ".venv/bin/python"), "-c", imports], check=True)
