"""Docker, other users of this machine, and clean copies of the project, for the tests of what runs in containers."""

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE_IMAGE = os.environ.get("DLIB_TEST_BASE_IMAGE")
"""In place of the Dockerfile's own, for a machine that reaches no registry."""
BASE_IMAGE_ARGUMENTS = ["--build-arg", f"BASE_IMAGE={BASE_IMAGE}"] if BASE_IMAGE else []
BUILD_TIMEOUT_SECONDS = 900


def run(
    *command: str | Path,
    timeout_seconds: float = 120,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, whatever comes of it."""
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(
        [str(word) for word in command],
        input=stdin,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def docker(*command: str | Path, timeout_seconds: float = 120) -> str:
    """What a command of Docker prints; it must succeed."""
    done = run("docker", *command, timeout_seconds=timeout_seconds)
    assert done.returncode == 0, f"docker {' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def build(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Builds the Dockerfile of a folder, with the output of its steps."""
    command = ("docker", "build", "--progress", "plain", *BASE_IMAGE_ARGUMENTS, *arguments)
    return run(*command, folder, timeout_seconds=BUILD_TIMEOUT_SECONDS, environment={"DOCKER_BUILDKIT": "1"})


def tracked_files(folder: Path, *more: str) -> list[str]:
    """What is there of the files that git tracks in a folder; `more` is passed to `git ls-files`."""
    listed = run("git", "-C", folder, "ls-files", "-z", "--cached", *more)
    assert listed.returncode == 0, listed.stderr
    return [name for name in listed.stdout.split("\0") if name and (folder / name).is_file()]


@contextmanager
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder


def check_out(folder: Path) -> Path:
    """A clone of the project, with its files as they are now: those that would be committed."""
    done = run("git", "clone", "--quiet", "--no-hardlinks", ROOT, folder)
    assert done.returncode == 0, done.stderr
    for name in tracked_files(ROOT, "--others", "--exclude-standard"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def give_to(uid: int, folder: Path) -> None:
    """Makes a folder and all in it a user's own; only root can give things away."""
    if uid == os.getuid():
        return
    if os.getuid() != 0:
        pytest.skip(f"only root can be user {uid}")
    os.chown(folder, uid, uid)
    for path in folder.rglob("*"):
        os.chown(path, uid, uid, follow_symlinks=False)


@cache
def with_name(uid: int) -> list[str]:
    """What to put before a command that is to find a name for a user, whom this machine may not know."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        users = Path(tempfile.mkdtemp()) / "passwd"
        users.write_text(f"{Path('/etc/passwd').read_text()}somebody:x:{uid}:{uid}::/:/bin/sh\n")
        users.parent.chmod(0o755)
        atexit.register(shutil.rmtree, users.parent, ignore_errors=True)
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', str(users)]
    return []


def as_user(uid: int) -> list[str]:
    """What to put before a command, that a user runs who may use Docker."""
    if uid == os.getuid():
        return []
    socket = Path("/var/run/docker.sock")
    if os.getuid() != 0 or not shutil.which("setpriv") or not shutil.which("unshare") or not socket.exists():
        pytest.skip(f"cannot be user {uid} here")
    return [*with_name(uid), "setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={socket.stat().st_gid}", "--"]
