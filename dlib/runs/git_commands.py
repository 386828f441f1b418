"""git, asked: a command of it, in a tree that may be anybody's. It may be missing, fail, or be slow."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

GIT_SECONDS = 60.0
"""How long git may take to answer: on a slow network disk it looks at each file."""


class SilentGitError(Exception):
    """git did not say what had to be known; the text is what it was asked."""


def top_folder(repository: Path) -> Path | None:
    """The top of the working tree that a folder is in; None where git says nothing, or outside a repository."""
    top = told(repository, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(top.rstrip(b"\n"))).resolve() if top else None


def run_git(
    repository: Path, *command: str, timeout_seconds: float | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Runs a git command, in a tree that may belong to another user (in a container), whatever comes of it.

    Without the optional locks a run does not disturb a commit in the same tree. A run that a git hook starts inherits
    the hook's GIT_DIR and the like, which would mean another repository.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0"}
    git = ["git", "-c", "safe.directory=*", "-C", str(repository), *command]
    return subprocess.run(
        git, capture_output=True, stdin=subprocess.DEVNULL, env=environment, timeout=timeout_seconds, check=False
    )


def ask(repository: Path, *command: str) -> bytes | None:
    """What a git command prints; None when it fails.

    Raises:
        SilentGitError: it takes too long.
    """
    try:
        done = run_git(repository, *command, timeout_seconds=GIT_SECONDS)
    except OSError:
        return None
    except subprocess.TimeoutExpired as error:
        raise SilentGitError(command[0]) from error
    return done.stdout if done.returncode == 0 else None


def told(repository: Path, *command: str) -> bytes | None:
    """The same, None also when it takes too long."""
    with suppress(SilentGitError):
        return ask(repository, *command)
    return None


def listed(repository: Path, *command: str) -> list[str]:
    """The names in the NUL-separated output of a git command that has to succeed.

    Raises:
        SilentGitError: it fails, or takes too long.
    """
    output = ask(repository, *command)
    if output is None:
        raise SilentGitError(command[0])
    return [name for name in os.fsdecode(output).split("\0") if name]
