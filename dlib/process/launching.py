"""The processes of a run on this machine: started, told where they meet, and watched.

Lightning's launcher kills the first process when another has died, so that nobody can say why the run ended, and takes
the number of tasks of a SLURM job for that of its step. Here every process, whoever started it, gets its place by the
variables of torchrun.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from dlib.process import meeting
from dlib.process.connections import free_port
from dlib.process.early_contact import end_at_once, open_meeting, settle_place
from dlib.process.errors import TrainingError, UserError, one_line
from dlib.process.meeting import Meeting, refuse_to_begin
from dlib.process.placement import starts_rest_of_node
from dlib.process.ranks import from_environment, global_rank, local_rank, was_launched, world_size

BY_HAND = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What somebody sets who starts a run on each machine without a launcher."""
TOLD_SECONDS = 2.0
"""How long the first waits for word from a process that others have started: it comes before the connection closes."""
SECONDS_BETWEEN_LOOKS = 0.2
LOST = re.compile(
    r"connection|closed by peer|reset by peer|broken pipe|failed to recv|timed out|timeout", re.IGNORECASE
)
"""What gloo, NCCL and the store say when another process does not answer."""


def refuse_missing_launcher(wanted: int) -> None:
    """Refuse several machines where nobody starts the processes of the others, and say whom it waits for.

    Args:
        wanted: `--num_nodes`.
    """
    if was_launched():
        return
    node, num_nodes = from_environment("NODE_RANK", 0), max(wanted, 1)
    if not 0 <= node < num_nodes:
        raise UserError(f"NODE_RANK={node}: --num_nodes {num_nodes} has machines from 0 to {num_nodes - 1}")
    if num_nodes == 1:
        return
    if not all(name in os.environ for name in BY_HAND):
        raise UserError(
            f"--num_nodes {num_nodes}: nobody has started the processes of the other machines; use torchrun --nnodes "
            f"{num_nodes} or srun --nodes {num_nodes}, or set {', '.join(BY_HAND)} on each machine"
        )
    others = ", ".join(str(number) for number in range(min(num_nodes, 8)) if number != node)
    place = "{MASTER_ADDR}:{MASTER_PORT}".format_map(os.environ)
    print(f"waiting at {place} for NODE_RANK {others}{' ...' * (num_nodes > 8)} to be started", file=sys.stderr)


def launched(
    num_processes: int,
    num_nodes: int,
    on_loss: Callable[[str], None] = lambda cause: None,
    held_back: Collection[signal.Signals] = (),
    told: Callable[[], str | None] = lambda: None,
    asked: Callable[[], bool] = lambda: False,
    open_store: Callable[[], int] = free_port,
) -> AbstractContextManager[object]:
    """Run the other processes of this machine beside this one, unless a launcher has started them.

    If one of them dies, this process ends within seconds, with a `TrainingError` that says why. If this one fails, so
    do they.

    Args:
        num_processes: those of a machine, this one included.
        num_nodes: number of machines.
        on_loss: told why, right before this process ends without unwinding.
        held_back: signals that wait until a started process takes them (`Stopping.listen`): sent to all, one would end
            it while it still starts.
        told: what another process has left to say why it failed, if one has.
        asked: whether this process was asked to stop: then none of them begins.
        open_store: has torch listen in the first process, and returns the port where all processes then meet.

    Raises:
        SystemExit: this process, the only one, was asked to stop.
    """
    if num_processes * num_nodes == 1:
        return refuse_to_begin() if asked() else nullcontext()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held_back)  # further processes inherit it
    try:
        return Others(_start_others(num_processes, num_nodes), on_loss, told, asked, open_store)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_others(num_processes: int, num_nodes: int) -> "list[subprocess.Popen[bytes]]":
    """Tell this process its rank, and start this machine's other processes unless a launcher has."""
    settle_place()
    if was_launched() and not (num_processes > 1 and starts_rest_of_node()):
        place = {"RANK": global_rank(), "LOCAL_RANK": local_rank(), "WORLD_SIZE": world_size()}
        os.environ.update({name: str(number) for name, number in place.items()})
        os.environ.setdefault("LOCAL_WORLD_SIZE", str(num_processes))
        return []
    node = global_rank() if starts_rest_of_node() else from_environment("NODE_RANK", 0)
    first = node * num_processes
    os.environ.update({"WORLD_SIZE": str(num_processes * num_nodes), "LOCAL_WORLD_SIZE": str(num_processes)})
    if num_nodes == 1:
        os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())})
    os.environ.update({"RANK": str(first), "LOCAL_RANK": "0"})
    return [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env={**os.environ, "RANK": str(first + number), "LOCAL_RANK": str(number)},
            stdin=subprocess.DEVNULL,
        )
        for number in range(1, num_processes)
    ]


class Others:
    """The other processes: those that this one has started, watched by a thread, and those that it meets."""

    def __init__(
        self,
        processes: "list[subprocess.Popen[bytes]]",
        on_loss: Callable[[str], None],
        told: Callable[[], str | None],
        asked: Callable[[], bool],
        open_store: Callable[[], int],
    ) -> None:
        """Meet them once the block is entered."""
        self._processes = processes
        self._on_loss, self._told, self._asked, self._open_store = on_loss, told, asked, open_store
        self._first_rank = global_rank()
        self._meeting: Meeting | None = None
        self._missed: str | None = None  # why one of those that it has met is missed
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        """Meet all, then start watching."""
        try:
            self._meeting = open_meeting()
            if self._meeting is not None:
                self._meeting.meet(self._asked, lambda: self._cause_of_death() or self._told(), self._open_store)
        except BaseException as error:
            self._part(in_order=isinstance(error, SystemExit))  # they were asked to stop, and all know it
            self._kill()
            raise
        self._thread.start()

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Say why another process was missed; one that others have started leaves that to the first.

        Raises:
            TrainingError: in one line.
            SystemExit: another process says it.
        """
        is_missed = isinstance(error, RuntimeError) and LOST.search(str(error)) is not None
        cause = self._wait_for_cause() if is_missed else None
        self._left.set()
        self._thread.join(meeting.GRACE_SECONDS)
        self._part(in_order=meeting.ends_well(error))
        if is_missed and cause is None and global_rank() > 0:
            raise SystemExit(1) from None
        if is_missed:
            met = one_line(str(error)).partition(". ")[0]  # what gloo adds is advice to programmers
            raise TrainingError(cause or f"another process of the run has ended, or is out of reach: {met}") from error

    def _part(self, *, in_order: bool) -> None:
        """Leave the meeting; end the processes of one's own where something went wrong."""
        if self._meeting is not None:
            self._meeting.leave(in_order=in_order)
        if not in_order:
            self._kill()

    def _wait_for_cause(self) -> str | None:
        """Why another process was missed: of our own once they have died, and with it said all; else what is told."""
        look, seconds = (self._cause_of_death, meeting.GRACE_SECONDS) if self._processes else (self._told, TOLD_SECONDS)
        deadline = time.monotonic() + seconds * bool(self._processes or global_rank() == 0)
        while (cause := look()) is None and time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return cause or self._told() or (self._missed if global_rank() == 0 else None)

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _watch(self) -> None:
        while not self._left.wait(SECONDS_BETWEEN_LOOKS):
            self._missed = self._meeting.look() if self._meeting is not None else None
            if cause := self._cause_of_death() or self._missed:
                if not self._left.wait(meeting.GRACE_SECONDS):
                    end_at_once(self._told() or cause, self._lose)
                return

    def _cause_of_death(self) -> str | None:
        """Which process has failed, in words; None where none has."""
        for number, process in enumerate(self._processes, start=1):
            if status := process.poll():
                rank = self._first_rank + number
                return self._told() or f"{describe_end(status)}: rank {rank} of the run, process {process.pid}"
        return None

    def _lose(self, cause: str) -> None:
        """Tell why the run ends, and end the others of this machine."""
        self._on_loss(cause)
        self._kill()


def describe_end(status: int) -> str:
    """How a failed process ended, by its exit status, negative for a signal."""
    if status > 0:
        return f"a process ended with status {status}, and may have said why"
    reason = " (mostly because memory ran out)" if -status == signal.SIGKILL else ""
    return f"a process was ended by signal {-status}, {signal.strsignal(-status)}{reason}"
