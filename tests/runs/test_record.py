"""record.json: enough to repeat a run, and no secret in it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dlib.runs.folder import RunFolder
from dlib.runs.record import SCHEMA_VERSION, add_hash, describe_session, read_record, shown_commit, write_record
from dlib.runs.working_tree import describe_git, strip_remote
from tests.repositories import git, slow_git


def write(run: RunFolder, repository: Path, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"argv": ["train.py", "-n", "wiki"], "devices": {"threads": 3}, "from_step": 0}
    session = describe_session(run, repository=repository, **{**options, **changes})
    write_record(run, session, {"train": "abc"}, repository)
    found = read_record(run)
    assert found is not None
    return found


def test_a_record_tells_command_commit_packages_machine_and_hashes(
    run: RunFolder, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "dlib")
    found = write(run, repository)
    assert found["schema_version"] == SCHEMA_VERSION
    assert found["command"]["argv"] == ["train.py", "-n", "wiki"]
    assert found["command"]["cwd"] == "dlib"
    assert found["git"]["commit"] == git(repository, "rev-parse", "HEAD").strip()
    assert found["git"]["branch"] == "main"
    assert found["git"]["dirty"] is False
    assert found["hashes"] == {"train": "abc"}
    assert found["packages"]["pytest"] == pytest.__version__
    assert found["python"] == sys.version
    assert found["hardware"]["threads"] == 3
    assert found["hardware"]["cpu_cores"] >= 1
    assert found["hardware"]["memory_bytes"] > 1 << 20
    assert found["time"].endswith("+00:00")
    assert found["sessions"] == []


def test_a_hash_that_is_known_later_is_added_and_nothing_else_touched(run: RunFolder, repository: Path) -> None:
    before = write(run, repository)
    add_hash(run, "weights", "def")
    after = read_record(run)
    assert after is not None
    assert after["hashes"] == {"train": "abc", "weights": "def"}
    assert {**after, "hashes": None} == {**before, "hashes": None}


def test_a_resumed_run_appends_a_session_and_touches_nothing_else(run: RunFolder, repository: Path) -> None:
    first = write(run, repository)
    (repository / "train.py").write_text("print(2)\n")
    argv = ["train.py", "-n", "wiki", "--max_time", "1:00:00"]
    second = write(run, repository, from_step=40, argv=argv, devices={"threads": 4})
    (session,) = second.pop("sessions")
    assert first.pop("sessions") == []
    assert second == first
    assert session["from_step"] == 40
    assert session["command"]["argv"][-1] == "1:00:00"
    assert session["git"]["dirty"] is True
    assert session["git"]["uncommitted_sha256"] != first["git"]["uncommitted_sha256"]
    assert session["changed_packages"] == []
    assert "packages" not in session
    assert session["hardware"]["threads"] == 4
    assert not run.uncommitted_diff.exists()


def test_each_session_keeps_the_uncommitted_code_that_the_run_did_not_begin_with(
    run: RunFolder, repository: Path
) -> None:
    write(run, repository)
    for text in ("print(2)\n", "print(2)\n", "print(3)\n", "print(1)\n"):  # the last is the commit's
        (repository / "train.py").write_text(text)
        found = write(run, repository)
    assert [session.get("code", {}).get("diff") for session in found["sessions"]] == ["uncommitted.diff"] * 3 + [None]
    folders = [run.root / session["code"]["folder"] for session in found["sessions"][:3]]
    assert folders[0] == folders[1] != folders[2]
    assert ["+print(2)" in (folder / "uncommitted.diff").read_text() for folder in folders] == [True, True, False]
    git(repository, "apply", str(folders[2] / "uncommitted.diff"))
    assert (repository / "train.py").read_text() == "print(3)\n"


def test_a_lost_record_takes_no_code_of_later_sessions_with_it(run: RunFolder, repository: Path) -> None:
    write(run, repository)
    (repository / "train.py").write_text("print(2)\n")
    (session,) = write(run, repository)["sessions"]
    run.record.unlink()
    write(run, repository)
    assert "+print(2)" in (run.root / session["code"]["folder"] / "uncommitted.diff").read_text()


def test_a_commit_is_marked_where_any_session_had_other_code(run: RunFolder, repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD").strip()[:10]
    assert [shown_commit(write(run, repository)) for _ in range(2)] == [commit] * 2
    (repository / "new.py").write_text("x = 1\n")
    found = write(run, repository)
    assert shown_commit(found) == f"{commit}+"
    assert (run.root / found["sessions"][-1]["code"]["folder"] / "untracked" / "new.py").read_text() == "x = 1\n"


def test_outside_a_repository_the_commit_is_null(tmp_path: Path) -> None:
    found = write(RunFolder(tmp_path), tmp_path)
    assert found["git"] == dict.fromkeys(("commit", "branch", "dirty", "remote", "uncommitted_sha256"))
    assert found["code"]["diff"] is None


def test_a_git_hook_that_starts_a_run_does_not_mislead_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert describe_git(repository)["commit"] == git(repository, "rev-parse", "HEAD").strip()


def test_without_git_the_commit_is_null(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert describe_git(repository)["commit"] is None


@pytest.mark.parametrize(
    ("commands", "dirty", "is_hashed"),
    [(["rev-parse --show-toplevel"], True, False), (["diff --name-only"], True, False), (["status"], None, True)],
)
def test_a_run_goes_on_where_git_is_slow_and_keeps_code_as_far_as_it_is_told(
    run: RunFolder,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    commands: list[str],
    dirty: bool | None,
    is_hashed: bool,
) -> None:
    write(run, repository)
    (repository / "train.py").write_text("print(2)\n")
    slow_git(run.root.parent / "bin", monkeypatch, *commands)
    (session,) = write(run, repository)["sessions"]
    assert session["git"]["dirty"] is dirty
    assert (session["git"]["uncommitted_sha256"] is not None) == is_hashed == ("code" in session)


def test_no_secret_of_command_environment_or_remote_is_recorded(
    run: RunFolder, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "remote", "add", "origin", "https://someone:hunter2@host.example/a/b.git?access=hunter2")
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    argv = ["train.py", "--wandb-api-key", "hunter2", "--model", "https://hunter2@host.example/model", "-n", "wiki"]
    found = write(run, repository, argv=argv)
    assert "hunter2" not in run.record.read_text()
    assert found["git"]["remote"] == "https://host.example/a/b.git"
    assert found["command"]["environment"]["SLURM_JOB_ID"] == "77"


@pytest.mark.parametrize(
    ("url", "stripped"),
    [
        ("https://user:token@host.example/a.git", "https://host.example/a.git"),
        ("https://token@host.example:8443/a.git", "https://host.example:8443/a.git"),
        ("ssh://git@host.example/a.git", "ssh://git@host.example/a.git"),
        ("ssh://git:pass@host.example/a.git", "ssh://git@host.example/a.git"),
        ("git@host.example:a/b.git", "git@host.example:a/b.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
    ],
)
def test_remotes_lose_their_credentials(url: str, stripped: str) -> None:
    assert strip_remote(url) == stripped


def test_a_damaged_record_reads_as_none(run: RunFolder) -> None:
    assert read_record(run) is None
    run.record.write_text(json.dumps([]))
    assert read_record(run) is None
