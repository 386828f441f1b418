"""`sweep.py SWEEP --local N`: the points of a sweep on this machine, so many at a time, a device each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from dlib.args import HardwareArgs
from dlib.browse.tables import shown_number
from dlib.launch.grids import Point
from dlib.launch.sweep_points import PointState, SweepOrder, counted, state_of, states
from dlib.process.durable import refusals_told
from dlib.process.errors import UserError
from dlib.process.stop_signals import STOP_SIGNALS, STOPPED_STATUS
from dlib.process.threads import usable_cores
from dlib.runs.registry import NOT_BEGUN

SECONDS_BETWEEN_LOOKS = 0.2
COUNT_DEVICES = "import torch; print(torch.cuda.device_count())"


def run_locally(order: SweepOrder, places: Sequence[dict[str, str]], repository: Path) -> int:
    """Train all points that are due with `repository`'s `train.py`, one in each of the places at a time.

    A signal has the points that run saved, and starts no others. Points that another process holds are left to it.

    Returns:
        0 where all points are finished, 75 where some were stopped, else 1.
    """
    with Workers(order, places, repository) as workers:
        workers.work()
    found = states(order)
    print(counted(found))
    if all(each.state == "finished" for each in found):
        return 0
    return STOPPED_STATUS if workers.stopped or any(each.state == "preempted" for each in found) else 1


def environments(hardware: HardwareArgs, number: int) -> list[dict[str, str]]:
    """The variables that give each of `number` processes a device of its own, or its share of the cores.

    Raises:
        UserError: there are fewer devices.
    """
    devices = [] if hardware.accelerator in ("cpu", "mps") else cuda_devices()
    if not devices:
        threads = os.environ.get("OMP_NUM_THREADS", str(max(1, usable_cores() // number)))
        return [{"OMP_NUM_THREADS": threads}] * number
    if number > len(devices):
        raise UserError(f"--local {number}: {len(devices)} devices are found here; give at most as many")
    return [{"CUDA_VISIBLE_DEVICES": device} for device in devices[:number]]


def cuda_devices() -> list[str]:
    """The CUDA devices as CUDA_VISIBLE_DEVICES names them, asked in a process of its own, which torch does not stay in.

    Raises:
        UserError: torch cannot be asked.
    """
    asked = subprocess.run([sys.executable, "-c", COUNT_DEVICES], capture_output=True, text=True)
    if not asked.stdout.strip().isdecimal():
        raise UserError(f"--local: torch does not tell its devices: {asked.stderr.strip().rpartition(chr(10))[2]}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [*(visible.split(",") if visible else map(str, range(int(asked.stdout))))][: int(asked.stdout)]


class Workers:
    """Processes of `train.py`, each in one of some places; leaving the `with` block waits for them."""

    def __init__(self, order: SweepOrder, places: Sequence[dict[str, str]], repository: Path) -> None:
        self._signals: list[int] = []  # that were heard
        self._order = order
        self._free = list(places)
        self._script = repository / "train.py"
        self._running: dict[subprocess.Popen[bytes], tuple[Point, dict[str, str]]] = {}
        self._logs = order.folder / "logs"

    @property
    def stopped(self) -> bool:
        """Whether a signal asked for an end."""
        return bool(self._signals)

    def __enter__(self) -> "Workers":
        with refusals_told(self._logs):
            self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Have all that run save, if an error ended the work."""
        self._ask_to_stop(signal.SIGTERM)
        for process in self._running:
            process.wait()

    def work(self) -> None:
        """Train all points that are due."""
        waiting, told = self._due(), 0
        with self._heard():
            while not self.stopped or self._running:
                for number in self._signals[told:]:  # here and not in the handler: what is just being started, too
                    self._ask_to_stop(number)
                    told += 1
                while self._free and not self.stopped and (point := next(waiting, None)):
                    self._start(point)
                if not self._running:
                    return
                self._take_ended()
                time.sleep(SECONDS_BETWEEN_LOOKS)

    def _due(self) -> Iterator[Point]:
        """The points that are to be trained, each looked at when its turn comes: somebody else may have begun it."""
        for point in self._order.points:
            found = state_of(self._order, point)
            if found.is_due(retry_failed=self._order.retry_failed):
                yield point
            elif found.state != "finished":
                self._tell(found, self._why_not(found))

    def _why_not(self, found: PointState) -> str:
        if found.state == "failed":
            return f"failed, and stays so without --retry_failed: {found.summary.note if found.summary else ''}"
        return f"{found.state}: another process has it"

    def _start(self, point: Point) -> None:
        place = self._free.pop(0)
        log = self._logs / f"{point.name}.log"
        with refusals_told(log), log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, str(self._script), *self._order.command(point)[1:]],
                env={**os.environ, **place},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C reaches us, and we hand it on once
            )
        self._running[process] = (point, place)
        self._tell(PointState(point, "begins"), "begins, or goes on")

    def _take_ended(self) -> None:
        for process in [process for process in self._running if process.poll() is not None]:
            point, place = self._running.pop(process)
            self._free.append(place)
            found = state_of(self._order, point)
            self._tell(found, self._how(found, process.returncode))

    def _how(self, found: PointState, status: int) -> str:
        """How a process ended, in words."""
        if found.summary is None or found.state == NOT_BEGUN or (status and found.state not in ("failed", "finished")):
            lines = (self._logs / f"{found.point.name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
            return (
                f"{found.state}, status {status}: {lines[-1].removeprefix('error: ') if lines else 'it said nothing'}"
            )
        loss = shown_number(found.summary.dev_loss)
        return f"{found.state}{f': {found.summary.note}' * bool(found.summary.note)}{f', dev loss {loss}' * bool(loss)}"

    def _tell(self, found: PointState, what: str) -> None:
        print(f"[{found.point.index}] {found.point.name}: {what}", flush=True)

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Take signals as the wish to stop, but for those that are ignored (`nohup`)."""
        heard = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._stop) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _ask_to_stop(self, number: int) -> None:
        """Hand a signal on to all that run: they save and end, at a second Ctrl-C at once.

        The same one: SLURM may have sent it to them, too, and a Ctrl-C after it would not let them save.
        """
        for process in list(self._running):
            with suppress(ProcessLookupError):
                process.send_signal(number)
