"""Where the runs of the tests stand: one text and one cache for a whole session, a folder of runs for each test."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlib.demo.corpus import write_demo_corpus
from dlib.runs.folder import RunFolder
from tests.environments.installed_versions import describe_versions
from tests.launching import Place, write_corpus
from tests.repositories import git

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
"""Of which all tests need one; pytest keeps the folders of those that failed."""
SHARE_MORE = ("bad_input", "containers", "extending", "slurm")
"""Folders whose files share something that takes long to make, or that is there once."""
LONG = ("slurm", "containers", "exactness")
"""Folders that begin before the others: what begins last is short, and no process ends long before another."""


def pytest_configure(config: pytest.Config) -> None:
    """Puts the tests' folders into memory where there is room: on a disk a small run waits a second for its writes."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the folders that take long begin."""
    items.sort(key=lambda item: not {*LONG} & {*item.path.relative_to(Path(__file__).parent).parts[:1]})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Says which tests stay in one process: those of a file or folder that share start-ups.

    The marks of `--dist loadgroup` say nothing to pytest 9.2: it takes no other name of a test from xdist 3.8.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = Path(nodeid.partition("::")[0])
            return next((name for name in SHARE_MORE if name in file.parts), str(file))

    config.option.loadscopereorder = False  # it would begin with those of many tests, however short
    return Groups(config, log)


def pytest_report_header() -> str:
    """What the tests run with."""
    return describe_versions()


@pytest.fixture(scope="session")
def session_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The small text, and a folder for the runs that several tests look at."""
    root = tmp_path_factory.mktemp("place")
    return Place(data=write_corpus(root / "data"), cache=root / "cache", runs=root / "runs")


@pytest.fixture(scope="session")
def demo_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's text, which takes seconds to write."""
    folder = tmp_path_factory.mktemp("demo text") / "made" / "on demand"
    write_demo_corpus(folder)
    return folder


@pytest.fixture
def place(session_place: Place, tmp_path: Path) -> Place:
    """The small text, and a folder for the runs of one test."""
    return replace(session_place, runs=tmp_path / "runs")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of git with a file in it."""
    folder = tmp_path / "repository"
    (folder / "dlib").mkdir(parents=True)
    git(folder, "init")
    (folder / "train.py").write_text("print(1)\n")
    (folder / ".gitignore").write_text("cache/\n__pycache__/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


@pytest.fixture
def run(repository: Path) -> RunFolder:
    """A run inside the repository."""
    folder = RunFolder(repository / "runs" / "wiki")
    folder.root.mkdir(parents=True)
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace that is not there yet."""
    return tmp_path / "there"
