"""Repositories of git for the tests that look at one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dlib.runs import git_commands


def git(folder: Path, *command: str) -> str:
    """Runs a command of git in a folder and returns what it prints."""
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    # A git hook that runs the tests hands down GIT_DIR, and these commands would work on the project itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *author, *command], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def slow_git(folder: Path, monkeypatch: pytest.MonkeyPatch, *commands: str) -> None:
    """Makes some commands of git, by their first words, slower than anybody waits."""
    folder.mkdir(exist_ok=True)
    script = folder / "git"
    cases = "|".join(f'*" {command} "*' for command in commands)
    script.write_text(f'#!/bin/sh\ncase "$* " in {cases}) exec sleep 60 ;; esac\nexec {shutil.which("git")} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(git_commands, "GIT_SECONDS", 1.0)
