"""A repository of git with a file in it, and a run inside; and a workspace that is not there yet."""

from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from tests.repositories import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "dlib").mkdir(parents=True)
    git(folder, "init")
    (folder / "train.py").write_text("print(1)\n")
    (folder / ".gitignore").write_text("cache/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


@pytest.fixture
def run(repository: Path) -> RunFolder:
    folder = RunFolder(repository / "runs" / "wiki")
    folder.root.mkdir(parents=True)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "there"
