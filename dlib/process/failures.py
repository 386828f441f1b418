"""Why a process of a run failed, left in a file for the first one, which tells it.

The first process only finds that a connection is closed; the stderr of the one that closed it may be another machine's.
"""

import json
import platform
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dlib.process.durable import write_text_atomically
from dlib.process.errors import UserError, one_line
from dlib.process.ranks import global_rank


@dataclass(frozen=True)
class Failure:
    """What ended a process."""

    rank: int  # its number among the processes of the run
    host: str  # its machine
    time: float  # when, in seconds since the epoch, by that machine's clock
    cause: str  # in one line
    traceback: str  # empty for a mistake of the user, whose line says all

    def __str__(self) -> str:
        """As a run's last line says it."""
        return f"rank {self.rank} of the run failed: {self.cause}"


@contextmanager
def left_for_first(folder: Path) -> Iterator[None]:
    """Leave in a folder why this process failed, if it does; not where it ends because it missed another."""
    try:
        yield
    except Exception as error:
        with suppress(OSError, UserError):  # a full disk; what matters is the error itself
            folder.mkdir(exist_ok=True)
            failure = describe_failure(error)
            write_text_atomically(folder / f"rank-{failure.rank}.json", json.dumps(asdict(failure)))
        raise


def describe_failure(error: BaseException) -> Failure:
    """What ends this process, now."""
    is_mistake = isinstance(error, UserError)
    cause = str(error) if is_mistake else f"{type(error).__name__}: {error}"
    lines = [] if is_mistake else traceback.format_exception(error)
    return Failure(global_rank(), platform.node(), time.time(), one_line(cause), "".join(lines))


def first_failure(folder: Path) -> Failure | None:
    """What was left there first; None where nothing was."""
    found = []
    for path in folder.glob("rank-*.json"):
        with suppress(OSError, ValueError, TypeError):  # the next look finds it whole
            found.append(Failure(**json.loads(path.read_text(encoding="utf-8"))))
    return min(found, key=lambda failure: failure.time, default=None)
