"""Whether a process still holds a run: the kernel is asked for the run's lock, and nothing is written."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder

LIVE_STATES = ("created", "running")
KILLED, UNKNOWN = "killed", "unknown"
# Local file systems: only one host sees their files, and it sees all their locks.
_LOCAL_FILE_SYSTEMS = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}


def is_held(folder: RunFolder) -> bool | None:
    """Whether a process holds the run; None where the system does not tell."""
    try:
        descriptor = _open(folder)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def actual_state(state: str, host: str, folder: RunFolder) -> str:
    """The state of a run whose status says `state`, written on `host`.

    A run that is under way but that nobody holds was killed. A network file system may hide the lock of a process on
    another host: then the state is unknown.
    """
    if state not in LIVE_STATES:
        return state
    held = is_held(folder)
    if held:
        return state
    sees_every_lock = held is not None and (host == os.uname().nodename or _is_on_local_disk(folder.root))
    return KILLED if sees_every_lock else UNKNOWN


def refuse_held(folder: RunFolder) -> None:
    """Refuse a run that a process holds, as `RunFolder.hold` does, where the system tells."""
    if is_held(folder):
        raise UserError(folder.in_use())


def refuse_live(folder: RunFolder) -> None:
    """Refuse to change a run that a process may be writing to."""
    status = folder.read_status()
    state = actual_state(status.state, status.host, folder) if status else ""
    if status and state in LIVE_STATES:
        raise UserError(f"run '{folder.name}' is live: process {status.pid} on host {status.host}; stop it first")
    if status and state == UNKNOWN:
        raise UserError(
            f"run '{folder.name}' says that it runs on host {status.host}, whose locks cannot be seen here: do it there"
        )


@contextmanager
def kept_still(folder: RunFolder) -> Iterator[None]:
    """Keeps a run from going on while it is read; several readers may do so at once.

    Raises:
        UserError: a process holds the run.
    """
    try:
        descriptor = _open(folder)
    except OSError:  # a run that was imported has no lock, and one of somebody else's may be closed to us
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(f"run '{folder.name}' is live: wait until it has ended") from error
    finally:
        os.close(descriptor)


def _open(folder: RunFolder) -> int:
    return os.open(folder.lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _is_on_local_disk(path: Path) -> bool:
    """Whether no other host can see these files; False also where the system does not tell."""
    try:
        device = os.stat(path).st_dev
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    # "36 35 98:0 /root /mount options - ext4 /dev/sda1 ...": the type comes after the lone dash.
    kinds = {line.partition(" - ")[2].split()[0] for line in lines if line.split()[2] == number}
    return bool(kinds) and kinds <= _LOCAL_FILE_SYSTEMS
