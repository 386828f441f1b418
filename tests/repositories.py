"""Repositories of git for the tests that look at one."""

import os
import subprocess
from pathlib import Path


def git(folder: Path, *command: str) -> str:
    """Runs a command of git in a folder and returns what it prints."""
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    # A git hook that runs the tests hands down GIT_DIR, and these commands would work on the project itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *author, *command], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout
