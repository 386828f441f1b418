"""Writing so that a killed process, or a power failure, leaves the old content or the new, never a part.

What the system refuses (no room, no inodes, a quota, a limit, a read-only disk) becomes one line that says what is free
and what is needed, whichever library met it.
"""

import errno
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dlib.process.errors import UserError
from dlib.process.ranks import logger

# Rust's libraries (safetensors, tokenizers) have an error's number in its text alone.
_NUMBER_IN_TEXT = re.compile(r"\((?:os error|Os \{ code:) (\d+)")
SHOWN_BYTES, SHOWN_INODES = 10_000, 1_000
"""A file that needs fewer bytes does not say so, and a disk with more free inodes has not run out of them."""
_ADVICE = {
    errno.EISDIR: "a folder stands there, move it away",
    errno.ENOTEMPTY: "a folder stands there, move it away",
    errno.ENOTDIR: "a file stands where a folder should be, move it away",
    errno.EROFS: "name a place that can be written",
}


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a text into an existing folder; a reader, even after a crash, finds the old text or the new one."""
    write_atomically(path, text.encode("utf-8"))


def write_atomically(path: Path, content: bytes) -> None:
    """Writes bytes, as `write_text_atomically` does."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.writing")
    with refusals_told(path, len(content)):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync(path.parent)


def overwrite_text(path: Path, text: str) -> None:
    """Writes a short text over a file without needing room: the last resort on a full disk, as a crash can tear it."""
    with refusals_told(path), path.open("r+b", buffering=0) as file:
        file.write(text.encode("utf-8"))
        file.truncate()


def write_output(path: Path, content: bytes) -> None:
    """Writes a file that a user named; a pipe, a device or a link is written into, not replaced."""
    if is_replaceable(path):
        write_atomically(path, content)
        return
    with refusals_told(path, len(content)), path.open("wb") as file:
        file.write(content)


def is_replaceable(path: Path) -> bool:
    """Whether a path is a regular file, or free."""
    return not path.is_symlink() and (path.is_file() or not path.exists())


def refuse_output(path: Path, flag: str) -> None:
    """Refuse, before the work is done, a file that could not be written; `flag` is named."""
    if path.is_dir():
        raise UserError(f"{flag} {path}: that is a folder; name a file")
    if not path.parent.is_dir():
        raise UserError(f"{flag} {path}: there is no folder {path.parent}; make it first")


@contextmanager
def refusals_told(path: Path, needed_bytes: int | None = None, *, name: str = "") -> Iterator[None]:
    """Turns what the system refuses while `path` is written into one line: why, what is free, what to do.

    Args:
        path: what is written; its disk is asked.
        needed_bytes: how much, where that is known.
        name: what to call it in place of its path, such as a flag.

    Raises:
        UserError: the system refused something.
    """
    try:
        yield
    except (UserError, BrokenPipeError):  # a pipe that breaks is a reader's end
        raise
    except Exception as error:
        number = error_number(error)
        if number is None:
            raise
        raise UserError(f"{name or path} cannot be written: {_explain(number, path, needed_bytes)}") from error


def error_number(error: BaseException | None) -> int | None:
    """The system's number of an error, or of its cause; None where it has none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if match := _NUMBER_IN_TEXT.search(str(error)):
            return int(match[1])
        error = error.__cause__ or error.__context__
    return None


def tell_little_room(folder: Path, needed_bytes: int) -> None:
    """Warn where the disk of a folder has less room than a run will need."""
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < needed_bytes:
        logger().warning(
            "%s: the checkpoints need %s, and %s are free there", folder, _shown(needed_bytes), _shown(free_bytes)
        )


def _explain(number: int, path: Path, needed_bytes: int | None) -> str:
    """The system's words, with how much room is free, allowed and needed."""
    words = os.strerror(number)
    need = f"{_shown(needed_bytes)} needed" if needed_bytes and needed_bytes >= SHOWN_BYTES else ""
    if number == errno.EFBIG:
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        allowed = f"{_shown(limit)} a file allowed, see ulimit -f" if limit != resource.RLIM_INFINITY else ""
        return words + _in_brackets(allowed, need)
    if number in (errno.ENOSPC, errno.EDQUOT):
        free = _free_room(path) if number == errno.ENOSPC else ""  # a quota is not the disk's
        return f"{words}{_in_brackets(free, need)}; make room, then start the same command again"
    return f"{words}: {_ADVICE[number]}" if number in _ADVICE else words


def _free_room(path: Path) -> str:
    """The free room on the disk of a path, or of its nearest existing folder."""
    folder = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    disk = os.statvfs(folder)
    few = disk.f_files and disk.f_favail < SHOWN_INODES  # some file systems count none
    return f"{_shown(disk.f_bavail * disk.f_frsize)}{f' and {disk.f_favail} inodes' if few else ''} free there"


def _shown(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"


def _in_brackets(*texts: str) -> str:
    said = ", ".join(filter(None, texts))
    return f" ({said})" if said else ""


def is_in_place(path: Path, found: os.stat_result) -> bool:
    """Whether a path still leads to the file that it led to when `found` was asked."""
    try:
        return os.path.samestat(path.stat(), found)
    except OSError:
        return False


def sync(path: Path) -> None:
    """Waits until the disk has a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until the disk has all files and names below a folder."""
    for root, _, files in os.walk(folder):
        for name in files:
            sync(Path(root) / name)
        sync(Path(root))
