"""The code of a run comes back as it was, in a tree that is thrown away, and the user's own is not touched."""

from pathlib import Path
from typing import Any

import pytest

from dlib.process.errors import UserError
from dlib.reproduce.code_copy import recorded_code
from dlib.runs.folder import RunFolder
from dlib.runs.working_tree import describe_git, save_uncommitted_code
from tests.repositories import git


@pytest.fixture
def record(run: RunFolder, repository: Path) -> dict[str, Any]:
    """The record of a run with a change, a new file and a binary one; the code has changed again since."""
    (repository / "train.py").write_text("print(2)\n")
    (repository / "blob.bin").write_bytes(bytes(range(256)))
    git(repository, "add", "blob.bin")
    (repository / "dlib" / "new.py").write_text("x = 1\n")
    (repository / ".env").write_text("KEY=hidden")
    found = {"git": describe_git(repository), "code": save_uncommitted_code(run, repository)}
    (repository / "train.py").write_text("print(3)\n")
    git(repository, "commit", "-am", "second")
    return found


def test_commit_changes_and_untracked_files_come_back_and_go_again(
    run: RunFolder, repository: Path, record: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / ".git" / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    (repository / ".git" / "hooks" / "post-checkout").chmod(0o755)
    before = git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")
    with recorded_code(run, record, repository, tmp_path / "copy") as copy:
        assert (copy / "train.py").read_text() == "print(2)\n"
        assert (copy / "blob.bin").read_bytes() == bytes(range(256))
        assert (copy / "dlib" / "new.py").read_text() == "x = 1\n"
        assert (repository / "train.py").read_text() == "print(3)\n"
    assert "warning: .env is not in the record of the code (its name says that it holds" in capsys.readouterr().err
    assert not copy.exists()
    assert not (tmp_path / "hooked").exists()
    assert git(repository, "worktree", "list").count("\n") == 1
    assert (git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")) == before


def test_an_interrupt_leaves_nothing(run: RunFolder, repository: Path, record: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), recorded_code(run, record, repository, tmp_path / "copy"):
        raise KeyboardInterrupt
    assert not (tmp_path / "copy").exists()
    assert git(repository, "worktree", "list").count("\n") == 1


def break_diff(run: RunFolder, record: dict[str, Any]) -> None:
    """A diff of other code."""
    run.uncommitted_diff.write_text(run.uncommitted_diff.read_text().replace("print(1)", "print(0)"))


def lose_diff(run: RunFolder, record: dict[str, Any]) -> None:
    """A record whose diff is gone."""
    run.uncommitted_diff.unlink()


def lose_commit(run: RunFolder, record: dict[str, Any]) -> None:
    """A commit of another repository."""
    record["git"] = {"commit": "1" * 40, "remote": "https://host.example/a.git"}


def forget_commit(run: RunFolder, record: dict[str, Any]) -> None:
    """A run that was made outside git."""
    record["git"] = {"commit": None, "remote": None}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            break_diff,
            r"uncommitted.diff does not apply to the run's commit; --present_code .* \(git: error: .*train.py",
        ),
        (lose_diff, "uncommitted.diff is missing, though the record names it; --present_code"),
        (
            lose_commit,
            r"commit 1{40} of run 'wiki' is not in this repository: fetch it from https://host.example/a.git",
        ),
        (forget_commit, "names no commit, the run was made outside git; --present_code"),
    ],
)
def test_code_that_cannot_be_brought_back_is_told_and_leaves_nothing(
    change: Any, told: str, run: RunFolder, repository: Path, record: dict[str, Any], tmp_path: Path
) -> None:
    change(run, record)
    with pytest.raises(UserError, match=told), recorded_code(run, record, repository, tmp_path / "copy"):
        pass
    assert not (tmp_path / "copy").exists()
    assert git(repository, "worktree", "list").count("\n") == 1


def test_outside_git_there_is_one_clear_line(run: RunFolder, record: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no git repository"), recorded_code(run, record, tmp_path, tmp_path / "c"):
        pass
