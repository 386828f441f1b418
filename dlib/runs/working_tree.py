"""The code that a run was made of: its commit, and what no commit holds.

It stands apart from the record because git may be missing, slow, or speak of another repository.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dlib.runs.folder import RunFolder

MAX_FILE_BYTES = 1 << 20
MAX_COPIED_BYTES = 20 << 20
MAX_LISTED_FILES = 100
_SECRET_FILE = re.compile(r"(\.env.*|\.netrc|.*\.(pem|key|p12|pfx|kdbx)|id_[a-z0-9]+|.*(secret|credential|password).*)")


def describe_git(repository: Path) -> dict[str, Any]:
    """Commit, branch, remote, and whether anything differs; all None without git or outside a repository."""
    remote = _git(repository, "remote", "get-url", "origin")
    changes = _git(repository, "status", "--porcelain")
    return {
        "commit": _text(_git(repository, "rev-parse", "--verify", "--quiet", "HEAD")),
        "branch": _text(_git(repository, "symbolic-ref", "--short", "--quiet", "HEAD")),
        "dirty": None if changes is None else bool(changes),
        "remote": strip_remote(_text(remote) or "") or None,
    }


def strip_remote(url: str) -> str:
    """A git remote's address without password and query, and over HTTP without user, as tokens stand in its place.

    `git@host:path` holds no secret and stays.
    """
    parts = urlsplit(url)
    if not parts.netloc:
        return url
    user, at, host = parts.netloc.rpartition("@")
    kept = "" if parts.scheme.startswith("http") else user.partition(":")[0] + at
    return urlunsplit((parts.scheme, kept + host, parts.path, "", ""))


def save_uncommitted_code(folder: RunFolder, repository: Path) -> dict[str, Any]:
    """Puts what `git checkout <commit>` would not bring back under code/: a diff, and the untracked files.

    Bounded: a file up to 1 MiB, 20 MiB in all, and no file whose name says that it holds keys.

    Returns:
        Which files are there, and which were left out, with the reason.
    """
    top = top_folder(repository)
    if top is None:
        return {"diff": None, "untracked": [], "left_out": {}, "left_out_count": 0}
    base = "HEAD" if _git(top, "rev-parse", "--verify", "--quiet", "HEAD") else _empty_tree(top)
    diff = _git(top, "diff", "--binary", "--no-ext-diff", "--no-textconv", base)
    if diff:
        folder.code.mkdir(parents=True, exist_ok=True)
        folder.uncommitted_diff.write_bytes(diff)
    copied, left_out = _copy_untracked(top, folder)
    listed = dict(list(left_out.items())[:MAX_LISTED_FILES])
    name = folder.uncommitted_diff.name if diff else None
    return {
        "diff": name,
        "untracked": copied,
        "left_out": listed,
        "left_out_count": len(left_out),
    }


def top_folder(repository: Path) -> Path | None:
    top = _git(repository, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(top.rstrip(b"\n"))).resolve() if top else None


def _copy_untracked(top: Path, folder: RunFolder) -> tuple[list[str], dict[str, str]]:
    copied: list[str] = []
    left_out: dict[str, str] = {}
    room = MAX_COPIED_BYTES
    for name in _untracked_files(top, folder):
        reason = _reason_to_leave(top / name, room)
        if reason:
            left_out[name] = reason
            continue
        target = folder.untracked / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(top / name, target)
        room -= target.stat().st_size
        copied.append(name)
    return copied, left_out


def _untracked_files(top: Path, folder: RunFolder) -> Iterator[str]:
    """Names from the top of what git neither tracks nor ignores, without the run folders that may stand there too."""
    runs = folder.root.resolve().parent
    own = folder.root.resolve() if top.is_relative_to(runs) else runs
    listing = _git(top, "ls-files", "--others", "--exclude-standard", "-z") or b""
    for name in filter(None, os.fsdecode(listing).split("\0")):
        if not (top / name).is_relative_to(own):
            yield name


def _reason_to_leave(path: Path, room: int) -> str | None:
    if path.is_symlink() or not path.is_file():
        return "not a plain file"
    if _SECRET_FILE.fullmatch(path.name.lower()):
        return "may hold secrets"
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        return f"{size} bytes, over {MAX_FILE_BYTES} a file"
    return f"over {MAX_COPIED_BYTES} bytes in all" if size > room else None


def _empty_tree(top: Path) -> str:
    """The name of a tree without files, what a repository without a commit differs from."""
    return _text(_git(top, "hash-object", "-t", "tree", os.devnull)) or "HEAD"


def _git(repository: Path, *command: str) -> bytes | None:
    """What a git command prints; None when it fails. In a container the tree may belong to another user: that is fine.

    Without the optional locks a run does not disturb whoever commits in the same tree meanwhile. A run that a git hook
    starts inherits the hook's GIT_DIR and its like, which would speak of another repository.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0"}
    git = ["git", "-c", "safe.directory=*", "-C", str(repository), *command]
    try:
        done = subprocess.run(
            git,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _text(output: bytes | None) -> str | None:
    return output.decode("utf-8", errors="replace").strip() or None if output else None
