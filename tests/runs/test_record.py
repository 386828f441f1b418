"""record.json: enough to repeat a run, and no secret in it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dlib.runs import working_tree
from dlib.runs.folder import RunFolder
from dlib.runs.record import SCHEMA_VERSION, read_record, strip_secrets, write_record
from dlib.runs.working_tree import describe_git, strip_remote


def git(folder: Path, *command: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    # A git hook that runs the tests hands down GIT_DIR, and these commands would work on the project itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *author, *command], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


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
    return RunFolder(repository / "runs" / "wiki")


def write(run: RunFolder, repository: Path, **changes: Any) -> dict[str, Any]:
    options = {"argv": ["train.py", "-n", "wiki"], "gpus": ["H200"], "hashes": {"train": "abc"}, "from_step": 0}
    write_record(run, repository=repository, **{**options, **changes})
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
    assert found["hardware"]["gpus"] == ["H200"]
    assert found["hardware"]["cpu_cores"] >= 1
    assert found["hardware"]["memory_bytes"] > 1 << 20
    assert found["time"].endswith("+00:00")
    assert found["sessions"] == []


def test_a_resumed_run_appends_a_session_and_touches_nothing_else(run: RunFolder, repository: Path) -> None:
    first = write(run, repository)
    (repository / "train.py").write_text("print(2)\n")
    second = write(run, repository, from_step=40, argv=["train.py", "-n", "wiki", "--max_time", "1:00:00"])
    (session,) = second.pop("sessions")
    assert first.pop("sessions") == []
    assert second == first
    assert session["from_step"] == 40
    assert session["command"]["argv"][-1] == "1:00:00"
    assert session["git"]["dirty"] is True
    assert not run.code.exists()


def test_commit_diff_and_untracked_files_bring_the_code_back(run: RunFolder, repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("print(2)\n")
    (repository / "blob.bin").write_bytes(bytes(range(256)))
    git(repository, "add", "blob.bin")
    (repository / "dlib" / "new file\u00e9.py").write_text("x = 1\n")
    found = write(run, repository)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", str(repository), str(clone))
    git(clone, "checkout", found["git"]["commit"])
    git(clone, "apply", str(run.uncommitted_diff))
    assert (clone / "train.py").read_text() == "print(2)\n"
    assert (clone / "blob.bin").read_bytes() == bytes(range(256))
    assert found["code"]["untracked"] == ["dlib/new file\u00e9.py"]
    assert (run.untracked / "dlib" / "new file\u00e9.py").read_text() == "x = 1\n"


def test_large_ignored_secret_and_run_files_are_not_copied(run: RunFolder, repository: Path) -> None:
    (repository / "cache").mkdir()
    (repository / "cache" / "store").write_text("ignored")
    (repository / "large.txt").write_bytes(b"x" * (working_tree.MAX_FILE_BYTES + 1))
    (repository / ".env").write_text("KEY=hidden")
    (repository / "link").symlink_to("/etc/hostname")
    (repository / "runs" / "other").mkdir(parents=True)
    (repository / "runs" / "other" / "metrics.jsonl").write_text("{}")
    found = write(run, repository)["code"]
    assert found["untracked"] == []
    assert sorted(found["left_out"]) == [".env", "large.txt", "link"]
    assert found["left_out_count"] == 3
    assert not run.untracked.exists()


def test_copies_and_lists_are_bounded_in_all(run: RunFolder, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working_tree, "MAX_COPIED_BYTES", 1000)
    monkeypatch.setattr(working_tree, "MAX_LISTED_FILES", 2)
    for number in range(5):
        (repository / f"{number}.txt").write_bytes(b"x" * 600)
    found = write(run, repository)["code"]
    assert found["untracked"] == ["0.txt"]
    assert (len(found["left_out"]), found["left_out_count"]) == (2, 4)


def test_outside_a_repository_the_commit_is_null(tmp_path: Path) -> None:
    found = write(RunFolder(tmp_path / "runs" / "wiki"), tmp_path)
    assert found["git"] == {"commit": None, "branch": None, "dirty": None, "remote": None}
    assert found["code"]["diff"] is None


def test_a_git_hook_that_starts_a_run_does_not_mislead_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert describe_git(repository)["commit"] == git(repository, "rev-parse", "HEAD").strip()


def test_without_git_the_commit_is_null(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert describe_git(repository)["commit"] is None


def test_a_repository_without_a_commit_still_keeps_its_files(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "train.py").write_text("print(1)\n")
    git(tmp_path, "add", "train.py")
    run = RunFolder(tmp_path / "runs" / "wiki")
    found = write(run, tmp_path)
    assert (found["git"]["commit"], found["git"]["dirty"]) == (None, True)
    assert found["code"]["diff"] == "uncommitted.diff"
    assert b"print(1)" in run.uncommitted_diff.read_bytes()


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
    ("argv", "stripped"),
    [
        (["--api_key=abc", "-n", "x"], ["--api_key=***", "-n", "x"]),
        (["--password", "abc", "def"], ["--password", "***", "def"]),
        (["--token", "-n", "x"], ["--token", "-n", "x"]),
        (["secret.key=abc"], ["secret.key=***"]),
        (["--tokenizer", "gpt2", "--training_goal", "2B tokens"], None),
        (["--model_overrides", "hidden_size=256"], None),
        (["hf_abcdefghijklmnopqrstuv"], ["***"]),
    ],
)
def test_secrets_are_struck_from_a_command_line(argv: list[str], stripped: list[str] | None) -> None:
    assert strip_secrets(argv) == (argv if stripped is None else stripped)


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
    run.root.mkdir(parents=True)
    run.record.write_text(json.dumps([]))
    assert read_record(run) is None
