"""The image that the tests of this folder share, built once from a clean copy of the project."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import engine

STRAY_FILES = (
    ".env",
    ".netrc",
    ".venv/bin/python",
    "dlib/.env",
    "configs/.env.local",
    "scripts/cluster.pem",
    "configs/keys/id_ed25519",
    "docs/dlib.sqsh",
    "runs/first/metrics.jsonl",
    "data/train.txt",
    "cache/tokens.bin",
    "wandb/settings",
    "dlib/__pycache__/errors.cpython-311.pyc",
)
"""What may stand in a user's folder, and has no place in an image."""


@pytest.fixture(scope="session", autouse=True)
def needs_engine() -> None:
    """Skips where no container engine is."""
    if shutil.which("docker") is None:
        pytest.skip("needs a container engine: docker is not installed")
    if engine.run("docker", "version").returncode != 0:
        pytest.skip("needs a container engine: docker does not answer")
    if not (engine.ROOT / ".git").exists():
        pytest.skip("needs the project's own repository")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can reach."""
    with engine.open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory, needs_engine: None) -> Path:
    """A clean copy of the project that has been used: with a key, data and runs."""
    folder = engine.check_out(tmp_path_factory.mktemp("context") / "dlib")
    for name in STRAY_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret")
    return folder


@pytest.fixture(scope="session")
def image(context: Path) -> Iterator[str]:
    """The pip target."""
    name = f"dlib-test:{os.getpid()}"
    done = engine.build(context, "--target", "pip", "--build-arg", "VERSION=1.2.3", "--tag", name)
    if "failed to resolve source metadata" in done.stderr:
        pytest.skip("needs the Dockerfile's base image, or another that DLIB_TEST_BASE_IMAGE names")
    assert done.returncode == 0, done.stderr
    yield name
    engine.run("docker", "image", "rm", "--force", name)
