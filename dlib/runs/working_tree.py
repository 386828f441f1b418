"""The code that a run was made of: its commit, and what no commit holds."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dlib.runs.folder import RunFolder
from dlib.runs.git_commands import SilentGitError, ask, listed, told, top_folder
from dlib.runs.paths import CodeFolder
from dlib.runs.redaction import holds_secret, names_secret

MAX_FILE_BYTES = 1 << 20
MAX_SAVED_BYTES = 20 << 20
MAX_CHANGED_FILES = 1000
MAX_LISTED_FILES = 100
NO_ANSWER = "git did not answer"
"""Why changes are left out of which nobody knows."""
# A diff that `git apply` takes, whatever the user's own settings of git are.
DIFF_OPTIONS = (
    "--binary --full-index --no-color --no-ext-diff --no-textconv --no-renames --src-prefix=a/ --dst-prefix=b/".split()
)


def describe_git(repository: Path) -> dict[str, Any]:
    """Commit, branch, remote, and whether anything differs; None where git says nothing."""
    remote = told(repository, "remote", "get-url", "origin")
    changes = told(repository, "status", "--porcelain")
    return {
        "commit": _text(told(repository, "rev-parse", "--verify", "--quiet", "HEAD")),
        "branch": _text(told(repository, "symbolic-ref", "--short", "--quiet", "HEAD")),
        "dirty": None if changes is None else bool(changes),
        "remote": strip_remote(_text(remote) or "") or None,
    }


def strip_remote(url: str) -> str:
    """A git remote's address without password and query, and over HTTP without user, where tokens stand."""
    parts = urlsplit(url)
    if not parts.netloc:
        return url
    user, at, host = parts.netloc.rpartition("@")
    kept = "" if parts.scheme.startswith("http") else user.partition(":")[0] + at
    return urlunsplit((parts.scheme, kept + host, parts.path, "", ""))


@dataclass
class Sieve:
    """Lets code through up to `room` bytes, none that looks like a secret; the rest is in `left_out`, with reasons."""

    room: int
    left_out: dict[str, str] = field(default_factory=dict)

    def admits_file(self, name: str, size: int) -> bool:
        """Whether a file may be read, by its name and size in bytes."""
        if names_secret(name):
            return self._leave(name, "its name says that it holds secrets")
        if size > MAX_FILE_BYTES:
            return self._leave(name, f"{size} bytes, over {MAX_FILE_BYTES} a file")
        return size <= self.room or self._leave_for_room(name)

    def admits_content(self, name: str, content: bytes | None, origin: bytes = b"") -> bool:
        """Whether content may be saved; `origin` is the file behind a diff that does not show it."""
        if content is None:
            return self._leave(name, "it cannot be read")
        if holds_secret(content) or holds_secret(origin):
            return self._leave(name, "a key stands in it")
        if len(content) > self.room:
            return self._leave_for_room(name)
        self.room -= len(content)
        return True

    def _leave(self, name: str, reason: str) -> bool:
        self.left_out[name] = reason
        return False

    def _leave_for_room(self, name: str) -> bool:
        return self._leave(name, f"over {MAX_SAVED_BYTES} bytes in all")


def save_uncommitted_code(folder: RunFolder, repository: Path, code: CodeFolder | None = None) -> dict[str, Any]:
    """Puts what `git checkout <commit>` would not bring back under code/: a diff, and the untracked files.

    Those of a later session have a folder `code` of their own below it.

    No file over 1 MiB, 20 MiB in all. A file that looks like it holds a secret, by its name or content, is left out
    whole, tracked or not: a diff with something struck from it would not apply.

    Returns:
        Which files are there, and which were left out, with the reason.
    """
    code = code or CodeFolder(folder.code)
    # What a session that was killed here had saved; not the folder, which has what later sessions went on with.
    code.diff.unlink(missing_ok=True)
    shutil.rmtree(code.untracked, ignore_errors=True)
    top = top_folder(repository)
    if top is None:
        return {"diff": None, "untracked": [], "left_out": {}, "left_out_count": 0}
    sieve, diff, copied = Sieve(MAX_SAVED_BYTES), b"", []
    try:
        diff = b"".join(_tracked_changes(top, sieve))
        copied = [_printable(name) for name in _copy_untracked(top, folder, sieve, code.untracked)]
    except SilentGitError as error:
        # The first, as only so many are listed.
        sieve.left_out = {f"what `git {error}` tells": NO_ANSWER, **sieve.left_out}
    if diff:
        code.root.mkdir(parents=True, exist_ok=True)
        code.diff.write_bytes(diff)
    shown = list(sieve.left_out.items())[:MAX_LISTED_FILES]
    return {
        "diff": code.diff.name if diff else None,
        "untracked": copied,
        "left_out": {_printable(name): reason for name, reason in shown},
        "left_out_count": len(sieve.left_out),
    }


def hash_uncommitted_code(folder: RunFolder, repository: Path) -> str | None:
    """SHA-256 of what `save_uncommitted_code` would save; None where git says nothing, or outside a repository."""
    top = top_folder(repository)
    if top is None:
        return None
    sieve, digest = Sieve(MAX_SAVED_BYTES), hashlib.sha256()
    with suppress(SilentGitError):
        for diff in _tracked_changes(top, sieve):
            digest.update(diff)
        for name, content in _untracked(top, folder, sieve):
            digest.update(f"{_printable(name)} {len(content)}\n".encode() + content)
        return digest.hexdigest()
    return None


def _tracked_changes(top: Path, sieve: Sieve) -> Iterator[bytes]:
    """A diff for each tracked file that differs from the commit and passes the sieve."""
    is_begun = ask(top, "rev-parse", "--verify", "--quiet", "HEAD")
    base = "HEAD" if is_begun else _text(ask(top, "hash-object", "-t", "tree", os.devnull)) or "HEAD"  # an empty tree
    committed = _committed_bytes(top, base)
    for number, name in enumerate(listed(top, "diff", "--name-only", "--no-renames", "-z", base)):
        path = top / name
        size = path.lstat().st_size if os.path.lexists(path) else 0
        if number >= MAX_CHANGED_FILES:
            sieve.left_out[name] = f"over {MAX_CHANGED_FILES} changed files"
        elif sieve.admits_file(name, max(size, committed.get(name, 0))):
            diff = ask(top, "diff", *DIFF_OPTIONS, base, "--", f":(top,literal){name}")
            # A binary diff is compressed: a key shows only in the files.
            is_binary = b"\nGIT binary patch\n" in (diff or b"")
            origin = _both_versions(top, base, name) if is_binary else b""
            if sieve.admits_content(name, diff, origin):
                yield diff or b""


def _committed_bytes(top: Path, base: str) -> dict[str, int]:
    """Size of every file of a commit, by name."""
    entries = (entry.partition("\t") for entry in listed(top, "ls-tree", "-r", "-l", "-z", base))
    sizes = {name: about.split()[-1] for about, _, name in entries}
    return {name: int(size) for name, size in sizes.items() if size.isdigit()}


def _both_versions(top: Path, base: str, name: str) -> bytes:
    return (ask(top, "cat-file", "blob", f"{base}:{name}") or b"") + (_content(top / name) or b"")


def _untracked(top: Path, folder: RunFolder, sieve: Sieve) -> Iterator[tuple[str, bytes]]:
    """Name and content of each untracked file that passes the sieve."""
    for name in _untracked_files(top, folder):
        path = top / name
        if path.is_symlink() or not path.is_file():
            sieve.left_out[name] = "not a plain file"
        elif sieve.admits_file(name, path.stat().st_size):
            content = _content(path)
            if sieve.admits_content(name, content):
                yield name, content or b""


def _copy_untracked(top: Path, folder: RunFolder, sieve: Sieve, copies: Path) -> Iterator[str]:
    """Copies what passes the sieve into the folder `copies`, and yields its names."""
    for name, content in _untracked(top, folder, sieve):
        target = copies / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        yield name


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _untracked_files(top: Path, folder: RunFolder) -> Iterator[str]:
    """Untracked and not ignored files, by their names from the top, without those of runs."""
    runs = folder.root.resolve().parent
    own = folder.root.resolve() if top.is_relative_to(runs) else runs
    is_copy = top.is_relative_to(folder.job.resolve())  # of a job: it is in the run, and nothing of the run is in it
    names = listed(top, "ls-files", "--others", "--exclude-standard", "-z")
    others = {PurePath(name).parent for name in names if PurePath(name).name == folder.record.name}
    for name in names:
        if (is_copy or not (top / name).is_relative_to(own)) and others.isdisjoint(PurePath(name).parents):
            yield name


def _text(output: bytes | None) -> str | None:
    return output.decode("utf-8", errors="replace").strip() or None if output else None


def _printable(name: str) -> str:
    """A name as UTF-8, with other bytes escaped."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")
