"""A run of `train.py` that is killed again and again: its sessions, and what each kill left.

It stands apart from `kill_resume.py`, which draws the kills and counts what came of them.
"""

import re
import signal
import time
from collections.abc import Container
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from benchmarks.killed_kinds import Configuration
from dlib.runs.folder import RunFolder
from tests.exactness.comparing import damage, differences
from tests.exactness.faults import LANDED, Fault
from tests.launching import Place, Result, Training, start

ANY_TIME = "at any time"
TOKENIZATION = "inside tokenization"
TIMED_OUT = 124
GRACE_SECONDS = 60
"""How long processes may outlive the first one, which was killed alone."""


@dataclass
class Kill:
    """A kill, and what came of it.

    Attributes:
        aim: what it was aimed at.
        fault: where the process kills itself; None: it is killed from outside.
        delay: seconds from the start, or from the tokenization's beginning, to the kill from outside.
        alone: the first process is killed and the others left to themselves.
        landed: where the run was; None: it had ended before.
        resumed: a later session went on from it.
        findings: what it left that it must not leave.
    """

    aim: str
    fault: Fault | None
    delay: float
    alone: bool
    landed: str | None = None
    resumed: bool = False
    findings: list[str] = field(default_factory=list)


class KilledRun:
    """A run that is compared with an undisturbed one. Leaving the `with` block ends all its processes."""

    def __init__(self, configuration: Configuration, place: Place, name: str, undisturbed: RunFolder) -> None:
        """Begin nothing yet."""
        self.configuration = configuration
        self.place = replace(place, cache=place.runs / f"{name}-cache")
        self.name = name
        self.undisturbed = undisturbed
        self.kills: list[Kill] = []
        self._processes = ExitStack()
        self._trainings: list[Training] = []

    def __enter__(self) -> "KilledRun":
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.close()

    @property
    def folder(self) -> RunFolder:
        """The run."""
        return self.place.folder(self.name)

    def kill(self, kill: Kill) -> None:
        """Let the run go on until it is killed, and note what that left; the next session may begin at once."""
        self.kills.append(kill)
        if kill.aim == TOKENIZATION:  # a cache may be lost at any time
            self.place = replace(self.place, cache=self.place.runs / f"{self.name}-cache-{len(self.kills)}")
        builds, newest = self._builds(), self.newest_step()
        training = self._start(kill.fault)
        if kill.fault is None:
            self._kill_from_outside(training, kill)
        result = result_of(training)
        self._note_going_on(training, result, newest)
        if result.status == 0:
            self._note_end(kill)
        elif result.status == -signal.SIGKILL:
            kill.landed = self._landed(training, result, builds)
            kill.findings += damage(self.folder, self.undisturbed)
        else:
            kill.landed = "failed"
            kill.findings.append(f"the session ended with status {result.status}: {result.last_line}")

    def end(self) -> None:
        """Let the run go on to its end, which must be that of the undisturbed run, and all its processes with it."""
        newest = self.newest_step()
        training = self._start(None)
        result = result_of(training)
        self._note_going_on(training, result, newest)
        if result.status == 0:
            self._note_end(self.kills[-1])
        else:
            message = f"the last session ended with status {result.status}: {result.last_line}"
            self.kills[-1].findings.append(message)

    def wait_for_orphans(self) -> None:
        """Note processes that do not end although the first one is long dead."""
        deadline = time.monotonic() + GRACE_SECONDS
        while any(training.living_processes() for training in self._trainings) and time.monotonic() < deadline:
            time.sleep(0.1)
        for kill, training in zip(self.kills, self._trainings, strict=False):  # the last session has no kill
            if training.living_processes():
                kill.findings.append(f"a process still lives {GRACE_SECONDS} s after the first one was killed")

    def _start(self, fault: Fault | None) -> Training:
        arguments = self.place.arguments(self.name, *self.configuration.arguments())
        training = self._processes.enter_context(start(arguments, self.place.runs / f"{self.name}-output", fault))
        self._trainings.append(training)
        return training

    def _kill_from_outside(self, training: Training, kill: Kill) -> None:
        while kill.aim == TOKENIZATION and not self._builds() and not training.ends_within(0.005):
            pass
        if not training.ends_within(kill.delay):
            (training.signal if kill.alone else training.signal_group)(signal.SIGKILL)

    def _note_going_on(self, training: Training, result: Result, newest: int) -> None:
        """The session went on from the kills before it, as soon as it held the run and knew the step."""
        said = re.search(r"goes on after step (\d+)\n", result.stderr)
        if said is not None and int(said[1]) != newest:
            self.kills[-1].findings.append(f"a session went on after step {said[1]} and not {newest}")
        if said is not None or (newest == 0 and self._held_by(training)):
            for kill in [kill for kill in self.kills if kill.landed is not None]:
                kill.resumed = True

    def _note_end(self, newest: Kill) -> None:
        """The run has ended."""
        newest.findings += differences(self.folder, self.undisturbed)
        for kill in self.kills:
            kill.resumed = True

    def _landed(self, training: Training, result: Result, builds_before: Container[str]) -> str:
        """Where the run was when it was killed, as well as can be told."""
        where = result.stderr.partition(LANDED)[2].partition("\n")[0]  # the others may have printed more
        if where == "inside an evaluation":
            return "evaluation"
        if any(name not in builds_before for name in self._builds()):
            return "tokenization"
        if not self._held_by(training):
            return "start-up"
        status = self.folder.read_status()
        if status is not None and status.state == "finished":
            return "end"
        # The session had removed what others left, so that these are its own.
        if str(self.folder.checkpoints) in where or list(self.folder.checkpoints.glob(".*")):
            return "checkpoint"
        return "training" if self.newest_step() else "before the first checkpoint"

    def _builds(self) -> set[str]:
        """Names of the token stores that are being built, or were when a process was killed."""
        return {path.name for path in self.place.cache.glob(".*.building-*")}

    def _held_by(self, training: Training) -> bool:
        status = self.folder.read_status()
        return status is not None and status.pid == training.pid

    def newest_step(self) -> int:
        """The step of the newest checkpoint, 0 where there is none."""
        checkpoints = self.folder.whole_checkpoints()
        return checkpoints[-1][0] if checkpoints else 0


def result_of(training: Training) -> Result:
    """How a session ended; one that does not end in time has a status of its own."""
    try:
        return training.result()
    except AssertionError:
        return Result(TIMED_OUT, "", "it does not end")
