"""Code that no commit holds is kept, up to a size, and without secrets."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dlib.runs import working_tree
from dlib.runs.folder import RunFolder
from dlib.runs.working_tree import describe_git, hash_uncommitted_code, save_uncommitted_code
from tests.repositories import git, slow_git

# In pieces, so that this file does not hold what it speaks of.
KEY = "hf_" + "aB3" * 12


def saved(run: RunFolder) -> bytes:
    """All that is kept of the code."""
    return b"".join(path.read_bytes() for path in sorted(run.code.rglob("*")) if path.is_file())


def test_commit_diff_and_untracked_files_bring_the_code_back(run: RunFolder, repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("print(2)\n")
    (repository / "blob.bin").write_bytes(bytes(range(256)))
    git(repository, "add", "blob.bin")
    (repository / "dlib" / "new file\u00e9.py").write_text("x = 1\n")
    found = save_uncommitted_code(run, repository)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", str(repository), str(clone))
    git(clone, "checkout", git(repository, "rev-parse", "HEAD").strip())
    git(clone, "apply", str(run.uncommitted_diff))
    assert (clone / "train.py").read_text() == "print(2)\n"
    assert (clone / "blob.bin").read_bytes() == bytes(range(256))
    assert found["untracked"] == ["dlib/new file\u00e9.py"]
    assert (run.untracked / "dlib" / "new file\u00e9.py").read_text() == "x = 1\n"


def test_large_ignored_secret_and_run_files_are_not_copied(run: RunFolder, repository: Path) -> None:
    (repository / "cache").mkdir()
    (repository / "cache" / "store").write_text("ignored")
    (repository / "large.txt").write_bytes(b"x" * (working_tree.MAX_FILE_BYTES + 1))
    (repository / ".env").write_text("KEY=hidden")
    (repository / "link").symlink_to("/etc/hostname")
    (repository / "runs" / "other").mkdir(parents=True)
    (repository / "runs" / "other" / "metrics.jsonl").write_text("{}")
    found = save_uncommitted_code(run, repository)
    assert found["untracked"] == []
    assert sorted(found["left_out"]) == [".env", "large.txt", "link"]
    assert found["left_out_count"] == 3
    assert not run.untracked.exists()


def test_runs_elsewhere_in_the_tree_are_no_code(run: RunFolder, repository: Path) -> None:
    other = RunFolder(repository / "experiments" / "e4")
    for path in (other.record, other.checkpoint(3) / "state.ckpt", repository / "experiments" / "plot.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    assert save_uncommitted_code(run, repository)["untracked"] == ["experiments/plot.py"]


def test_what_a_killed_session_had_saved_goes(run: RunFolder, repository: Path) -> None:
    stale = repository / "stale.py"
    stale.write_text("x = 1\n")
    save_uncommitted_code(run, repository)
    before = hash_uncommitted_code(run, repository)
    stale.unlink()
    assert save_uncommitted_code(run, repository)["untracked"] == []
    assert saved(run) == b""
    assert hash_uncommitted_code(run, repository) != before


def test_copies_and_lists_are_bounded_in_all(run: RunFolder, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working_tree, "MAX_SAVED_BYTES", 1000)
    monkeypatch.setattr(working_tree, "MAX_LISTED_FILES", 2)
    for number in range(5):
        (repository / f"{number}.txt").write_bytes(b"x" * 600)
    found = save_uncommitted_code(run, repository)
    assert found["untracked"] == ["0.txt"]
    assert (len(found["left_out"]), found["left_out_count"]) == (2, 4)


def test_a_repository_without_a_commit_still_keeps_its_files(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "train.py").write_text("print(1)\n")
    git(tmp_path, "add", "train.py")
    run = RunFolder(tmp_path / "runs" / "wiki")
    assert (describe_git(tmp_path)["commit"], describe_git(tmp_path)["dirty"]) == (None, True)
    assert save_uncommitted_code(run, tmp_path)["diff"] == "uncommitted.diff"
    assert b"print(1)" in run.uncommitted_diff.read_bytes()


def test_a_file_with_a_key_is_left_out_of_diff_and_copies_and_the_rest_stays(run: RunFolder, repository: Path) -> None:
    for name in (".env", "config.py", "blob.bin", "good.py"):
        (repository / name).write_text("x = 1\n")
    git(repository, "add", "--force", ".")
    git(repository, "commit", "-m", "second")
    (repository / ".env").write_text("KEY=hidden\n")
    (repository / "config.py").write_text(f"x = 1\nlogin({KEY!r})\n")
    (repository / "blob.bin").write_bytes(bytes(100) + KEY.encode())
    (repository / "good.py").write_text("x = 2\n")
    (repository / "notes.txt").write_text(f"the key is {KEY}\n")
    (repository / "hf_token").write_text("hidden")
    found = save_uncommitted_code(run, repository)
    assert found["left_out"] == {
        ".env": "its name says that it holds secrets",
        "blob.bin": "a key stands in it",
        "config.py": "a key stands in it",
        "hf_token": "its name says that it holds secrets",
        "notes.txt": "a key stands in it",
    }
    assert KEY.encode() not in saved(run)
    assert b"hidden" not in saved(run)
    git(repository, "stash")
    git(repository, "apply", str(run.uncommitted_diff))
    assert (repository / "good.py").read_text() == "x = 2\n"
    assert (repository / "config.py").read_text() == "x = 1\n"


@pytest.mark.parametrize("content", [b"x", bytes(range(256))], ids=["text", "binary"])
def test_a_key_that_a_change_takes_away_is_not_kept_either(run: RunFolder, repository: Path, content: bytes) -> None:
    (repository / "file").write_bytes(content + b" " + KEY.encode())
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    (repository / "file").write_bytes(content)
    assert save_uncommitted_code(run, repository)["left_out"] == {"file": "a key stands in it"}
    assert not run.code.exists()


def test_large_changed_files_are_left_out_however_they_changed(run: RunFolder, repository: Path) -> None:
    large = b"x\n" * working_tree.MAX_FILE_BYTES
    for name in ("removed", "shrunk"):
        (repository / name).write_bytes(large)
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    (repository / "removed").unlink()
    (repository / "shrunk").write_bytes(b"x\n")
    (repository / "train.py").write_bytes(large)
    found = save_uncommitted_code(run, repository)
    assert (found["diff"], sorted(found["left_out"])) == (None, ["removed", "shrunk", "train.py"])
    assert all("bytes, over" in reason for reason in found["left_out"].values())


def test_the_diff_is_bounded_in_all(run: RunFolder, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        (repository / f"{number}.txt").write_text("x\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    for number in range(4):
        (repository / f"{number}.txt").write_text("y\n" * 300)
    monkeypatch.setattr(working_tree, "MAX_SAVED_BYTES", 2500)
    assert sorted(save_uncommitted_code(run, repository)["left_out"]) == ["2.txt", "3.txt"]
    assert 1000 < len(saved(run)) <= 2500
    monkeypatch.setattr(working_tree, "MAX_CHANGED_FILES", 1)
    assert sorted(save_uncommitted_code(run, repository)["left_out"]) == ["1.txt", "2.txt", "3.txt"]


def damage(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.write_bytes(b"damaged")


def be_slow(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_git(index.with_name("bin"), monkeypatch, "rev-parse --verify")  # not: there is no commit


@pytest.mark.parametrize("silence", [damage, be_slow])
def test_where_git_does_not_answer_nothing_is_taken_for_the_changes_and_it_is_told(
    run: RunFolder, repository: Path, monkeypatch: pytest.MonkeyPatch, silence: Callable[..., None]
) -> None:
    (repository / "train.py").write_text("print(2)\n")
    silence(repository / ".git" / "index", monkeypatch)
    assert hash_uncommitted_code(run, repository) is None
    found = save_uncommitted_code(run, repository)
    assert (found["diff"], found["untracked"], saved(run)) == (None, [], b"")
    assert [*found["left_out"].values()] == ["git did not answer"]


def test_every_kind_of_change_and_name_comes_back(run: RunFolder, repository: Path, tmp_path: Path) -> None:
    for name in ("gone.py", "became link", ":odd*name.py", "größer.py"):
        (repository / name).write_text("x = 1\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    git(repository, "config", "diff.mnemonicPrefix", "true")
    git(repository, "config", "color.ui", "always")
    (repository / "gone.py").unlink()
    (repository / "became link").unlink()
    (repository / "became link").symlink_to("train.py")
    git(repository, "mv", "train.py", "moved.py")
    for name in (":odd*name.py", "größer.py"):
        (repository / name).write_text("x = 2\n")
    found = save_uncommitted_code(run, repository)
    assert (found["left_out"], found["untracked"]) == ({}, [])
    clone = tmp_path / "clone"
    git(tmp_path, "clone", str(repository), str(clone))
    git(clone, "apply", str(run.uncommitted_diff))
    assert not (clone / "gone.py").exists()
    assert not (clone / "train.py").exists()
    assert (clone / "moved.py").read_text() == "print(1)\n"
    assert os.readlink(clone / "became link") == "train.py"
    assert (clone / ":odd*name.py").read_text() == (clone / "größer.py").read_text() == "x = 2\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_told(run: RunFolder, repository: Path) -> None:
    (repository / "closed.txt").write_text("x")
    (repository / "closed.txt").chmod(0)
    assert save_uncommitted_code(run, repository)["left_out"] == {"closed.txt": "it cannot be read"}


def test_a_name_that_is_no_utf8_is_written_out(run: RunFolder, repository: Path) -> None:
    (repository / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    assert save_uncommitted_code(run, repository)["untracked"] == ["caf\\xe9.py"]
