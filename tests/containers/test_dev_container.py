"""The dev container, opened with the command line that VS Code uses too."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.containers import engine
from tests.containers.engine import docker

pytestmark = pytest.mark.docker

PACKAGE = "@devcontainers/cli@0.89.0"
KEY = "0123456789abcdef0123456789abcdef01234567"


class DevContainer(NamedTuple):
    """A user's copy of the project, and how the user calls the dev container command line."""

    uid: int
    repository: Path
    program: str

    def run(self, verb: str, *arguments: str, target: str = "DLIB_TARGET=pip") -> "subprocess.CompletedProcess[str]":
        """Runs a command of the dev container's, on the smaller image unless told otherwise."""
        settings = [target, f"HOME={self.repository.parent}", f"WANDB_API_KEY={KEY}"]
        folder = ["--workspace-folder", str(self.repository)]
        command = [*engine.as_user(self.uid), "env", *settings, self.program, verb, *folder, *arguments]
        return engine.run(*command, timeout_seconds=600)

    def says(self, verb: str, *arguments: str, target: str = "DLIB_TARGET=pip") -> str:
        """What a command of the dev container's prints; it must succeed."""
        done = self.run(verb, *arguments, target=target)
        assert done.returncode == 0, done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def program() -> Iterator[str]:
    """The dev container command line; where it is not installed npm fetches it, to a place that every user can read."""
    installed = shutil.which("devcontainer")
    if installed is not None:
        yield installed
        return
    if shutil.which("npm") is None:
        pytest.skip(f"needs the dev container command line: npm install --global {PACKAGE}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        if engine.run("npm", "install", "--prefix", folder, PACKAGE).returncode != 0:
            pytest.skip(f"needs the dev container command line, and npm cannot fetch {PACKAGE}")
        yield f"{folder}/node_modules/.bin/devcontainer"


@pytest.fixture
def dev_container(program: str, image: str, open_folder: Path) -> Iterator[DevContainer]:
    """One of a user who is neither root nor of the image's own number, where that is possible."""
    uid = 1001 if os.getuid() == 0 else os.getuid()
    repository = engine.check_out(open_folder / "dlib")
    if engine.BASE_IMAGE:
        file = repository / ".devcontainer" / "devcontainer.json"
        chosen = json.dumps({"BASE_IMAGE": engine.BASE_IMAGE})
        file.write_text(file.read_text().replace('"target":', f'"args": {chosen}, "target":'))
    engine.give_to(uid, open_folder)
    yield DevContainer(uid, repository, program)
    label = f"label=devcontainer.local_folder={repository}"
    for line in docker("ps", "--all", "--filter", label, "--format", "{{.ID}} {{.Image}}").splitlines():
        container, own_image = line.split()
        engine.run("docker", "rm", "--force", container)
        engine.run("docker", "image", "rm", "--force", own_image, own_image.removesuffix("-uid"))


def test_full_image_is_taken_and_a_gpu_where_one_is(dev_container: DevContainer) -> None:
    configuration = json.loads(dev_container.says("read-configuration", target="--unset=DLIB_TARGET"))["configuration"]
    assert configuration["build"]["target"] == "full"
    assert configuration["hostRequirements"] == {"gpu": "optional"}


def test_opened_container_has_a_working_pytest_for_the_user(dev_container: DevContainer) -> None:
    assert json.loads(dev_container.says("build"))["outcome"] == "success"
    assert json.loads(dev_container.says("up"))["outcome"] == "success"
    tests = ("tests/config/test_durations.py", "tests/training/test_tree_sum.py", "-q")
    assert " passed" in dev_container.says("exec", "scripts/test.sh", *tests)
    script = "touch mine ~/.cache/huggingface/mine; pwd; command -v python; echo ${#WANDB_API_KEY}; id -un"
    said = dev_container.says("exec", "bash", "-c", script).split()
    assert said == ["/workspace", "/opt/dlib/bin/python", str(len(KEY)), "dlib"]
    written = [dev_container.repository / "mine", dev_container.repository.parent / ".cache/huggingface/mine"]
    assert [path.stat().st_uid for path in written] == [dev_container.uid] * 2
