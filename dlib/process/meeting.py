"""The processes of a run meet before torch's own rendezvous, and stay in touch: who is missing is told by name.

torch waits half an hour, in silence and deaf to signals, for a process that never comes or that stands still. Here the
first process says who has not come, and waits no longer than is reasonable. From then on an open connection to each
other one tells at once that it has ended; what stands still is told by the place where each process stands.

    first                                   others
    listens at MASTER_PORT      <---        {"rank": 3, "host": "n2", "run": "812.0"}, from their start on
                                <---        {"rank": 3, "size": 16, "asked": false}, once they have prepared the run
    all are there               --->        {"go": true, "port": 40113, "interface": null}: torch meets at that port
    looks at them               <---        {"still": 0.3, "place": "dlib/..."}, often; at last {"left": true}
"""

import os
from collections.abc import Callable
from typing import NoReturn, Protocol

from dlib.process.connections import Connection, interface_of, is_loopback, resolves_own_name
from dlib.process.ranks import global_rank, in_slurm_step, say, world_size
from dlib.process.stop_signals import STOPPED_STATUS

MEETING_SECONDS = 600.0
"""How long processes may come one after the other: nodes unpack images, and import from slow disks."""
REMINDER_SECONDS = 30.0
"""How often it is said who is waited for."""
FAREWELL_SECONDS = 10.0
"""How long a process that was asked to stop stays to tell it to those that come later: schedulers wait longer."""
GRACE_SECONDS = 10.0
"""How long a process may take to end by itself after another was lost, and a lost one to be missed."""
LEAVING_SECONDS = 10.0
"""How long the first waits for the others to end: if it ended before them with 75, srun would kill them: 143."""
NAMELESS_SECONDS = 60.0
"""How long a name may be unknown: that of a machine that just came up."""
CONNECTING_SECONDS, LOOK_SECONDS, BEAT_SECONDS = 2.0, 0.2, 5.0
SILENT_SECONDS = 15.0
"""After how long without a word a process counts as stopped, and without movement as standing still."""
STILL_SECONDS = 120.0
"""From when on it is told where all stand: longer than most kernels compile and most checkpoints take."""
ADVICE = "set MASTER_ADDR to an address of the first node that all nodes reach"


class Meeting(Protocol):
    """One end of the connections."""

    @property
    def is_complete(self) -> bool:
        """Whether all are in touch, as far as this process has to do with them."""

    def greet(self) -> str | None:
        """Get in touch, long before all meet; returns why they never will. To be called again and again."""

    def meet(self, asked: Callable[[], bool], lost: Callable[[], str | None], open_store: Callable[[], int]) -> None:
        """Wait until all processes are there.

        Args:
            asked: whether this process was asked to stop; then none begins.
            lost: why it need not wait any longer.
            open_store: has torch listen, in the first process; returns the port.

        Raises:
            SystemExit: a process was asked to stop, before anything was computed.
            UserError: some did not come.
            TrainingError: some have ended.
        """

    def look(self) -> str | None:
        """Why the run cannot go on, if another process has ended without a word; to be called again and again."""

    def leave(self, *, in_order: bool, cause: str = "") -> None:
        """End, the first last; not in order where this process has failed, for a `cause` that the first tells."""


def reason_of(error: OSError) -> str:
    """What went wrong, without what was attempted."""
    is_known = error.errno is not None and error.errno > 0
    return os.strerror(error.errno) if is_known else str(error.strerror or error)  # type: ignore[arg-type]


def name_run() -> str:
    """What tells the processes of this run from those of another that meets at the same place."""
    step = f"{os.environ.get('SLURM_JOB_ID')}.{os.environ.get('SLURM_STEP_ID')}"
    return step if in_slurm_step() else f"{step} of {world_size()}"  # tasks may start others, and know late how many


def refuse_to_begin() -> NoReturn:
    """End where a process was asked to stop before all had come; others than the first leave the status to it."""
    say("stopped before the first step, with nothing to save: the same command goes on")
    raise SystemExit(0 if global_rank() else STOPPED_STATUS)


def interface_of_any(connections: list[Connection]) -> str | None:
    """The interface of this machine that leads to others; None where its name tells it, or all of them are here.

    gloo has others come to the address of this machine's name, which may be 127.0.1.1 (as Debian installs it).
    """
    if resolves_own_name():
        return None
    outward = sorted(address for each in connections if not is_loopback(address := each.own_address))
    return next(filter(None, map(interface_of, outward)), None)


def ends_well(error: BaseException | None) -> bool:
    """Whether a process that ends so has not failed."""
    return error is None or (isinstance(error, SystemExit) and not error.code)


def meet_torch_at(address: str, port: int, interface: str | None) -> None:
    """Have torch meet at a place, and gloo over an interface unless the user has named one."""
    os.environ.update({"MASTER_ADDR": address, "MASTER_PORT": str(port)})
    if interface:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
