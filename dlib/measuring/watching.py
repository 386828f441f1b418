"""Following runs while they train: each new checkpoint is evaluated once, by any number of watchers.

Watchers share their state in the run's own folder only (`dlib/runs/ledger.py`), so one may be killed at any moment, and
others go on. Training neither waits for them nor knows them.
"""

import os
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dlib.launch.job_list import has_live_job
from dlib.launch.launchers import NoSchedulerError
from dlib.measuring.flags import Order
from dlib.measuring.subjects import Evaluation, Subject, evaluation_of_run
from dlib.models.names import find_path
from dlib.process.errors import UserError, one_line
from dlib.process.ranks import logger, say
from dlib.runs.finding import find_checkpoint
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import LIVE_STATES, UNKNOWN, actual_state
from dlib.runs.paths import CheckpointFolder

SECONDS_BETWEEN_LOOKS = 1.0
PATIENCE_SECONDS = 60.0
"""How long to wait for a run that stopped before its goal, until its job is asked for: it may be about to go on."""


@dataclass
class Watcher:
    """Looks at the runs that the command line names, again and again, and yields what is to be evaluated."""

    order: Order  # what was asked for
    failed: bool = False  # whether a run or a checkpoint could not be evaluated
    _evaluations: dict[Path, Evaluation | None] = field(default_factory=dict)
    _left_out: set[Path] = field(default_factory=set)
    _stopped_at: dict[Path, float] = field(default_factory=dict)
    _ended: set[Path] = field(default_factory=set)
    _has_stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def subjects(self) -> Generator[Subject | None, None, None]:
        """Yields each checkpoint without a result, pinned and claimed until the next is asked for; None: nothing now.

        It ends when all runs have ended and have all their results; with `--once` after one look. A folder of runs has
        no end: others may appear.
        """
        while True:
            looks = [self._look(run) for run in self._runs()]
            for run, goes_on in looks:
                yield from self._lacking(run)
                if not goes_on:
                    self._end(run)
            may_begin = any(not has_begun(target) for target in self._targets())  # a folder of runs, or a run
            waits = may_begin or any(goes_on for _, goes_on in looks)
            if self.order.once or not (waits or self._has_unfinished() or self._has_live_job()):
                return
            yield None
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def prepare(self) -> None:
        """Begin to watch the runs that are there, before heavy imports: what they save from now on is kept.

        A thread does so with runs that begin later.

        Raises:
            UserError: a target is something else than a run or a folder of runs.
        """
        for target in self._targets():
            if find_checkpoint(target) or (target / "config.json").is_file():
                raise UserError(f"{target} is a checkpoint or a model: --watch takes runs and folders of runs")
            if not target.is_dir() and (self.order.once or target.exists() or not target.parent.is_dir()):
                raise UserError(f"{target}: there is neither a run nor a folder of runs")
            if not target.exists():
                say(f"{target}: waiting for a run to begin: train.py --name {target.name}")
            elif not has_begun(target) and not any(map(has_begun, target.iterdir())):
                waits = "no run is there yet" if self.order.once else "waiting for a run to begin"
                say(f"{target}: {waits}")
        for run in self._runs():
            self._evaluation_of(run)
        threading.Thread(target=self._keep_signing_in, daemon=True).start()

    def _keep_signing_in(self) -> None:
        while not self._has_stopped.wait(SECONDS_BETWEEN_LOOKS):
            with suppress(OSError):  # a folder that was removed meanwhile
                for run in self._runs():
                    self._evaluation_of(run)

    def give_up(self, run: RunFolder, step: int, error: UserError) -> None:
        """Leave a checkpoint out from now on, and say why."""
        checkpoint = run.checkpoint(step)
        logger().warning("%s of run '%s' is left out: %s", checkpoint.name, run.name, one_line(str(error)))
        self._left_out.add(checkpoint)
        self.failed = True

    def stop(self) -> None:
        """Stop watching: nothing is kept for this watcher any longer."""
        with self._lock:
            self._has_stopped.set()
            for root, evaluation in self._evaluations.items():
                self._ended.add(root)
                if evaluation is not None:
                    RunFolder(root).ledger.unwatch(evaluation.kind)

    def _give_up_run(self, run: RunFolder, error: UserError) -> None:
        """Leave a run out from now on, and say why."""
        logger().warning("run '%s' is left out: %s", run.name, one_line(str(error)))
        evaluation = self._evaluations.get(run.root)
        self._evaluations[run.root] = None
        self.failed = True
        if evaluation is not None:
            with suppress(OSError):  # what cannot be written is why it is given up
                run.ledger.unwatch(evaluation.kind)

    def _targets(self) -> list[Path]:
        """Where the words of the command line lead now: a run's own name does so only when it has begun."""
        return [find_path(word) or Path(word) for word in self.order.targets]

    def _runs(self) -> list[RunFolder]:
        """The runs that have begun and are not finished with."""
        found = []
        for target in self._targets():
            is_run = RunFolder(target).config.is_file() or not target.is_dir()
            found += [RunFolder(path) for path in ([target] if is_run else sorted(target.iterdir())) if has_begun(path)]
        given_up = {root for root, evaluation in self._evaluations.copy().items() if evaluation is None}
        return [run for run in found if run.root not in given_up | self._ended]

    def _look(self, run: RunFolder) -> tuple[RunFolder, bool]:
        """The run, and whether more can come of it. Asked before its checkpoints are, so that the last one is seen."""
        status = run.read_status()
        state = actual_state(status.state, status.host, run) if status else "failed"
        if state in (*LIVE_STATES, UNKNOWN):
            self._stopped_at.pop(run.root, None)
            return run, True
        stopped_at = self._stopped_at.setdefault(run.root, time.monotonic())
        return run, state != "finished" and time.monotonic() - stopped_at < PATIENCE_SECONDS

    def _evaluation_of(self, run: RunFolder) -> Evaluation | None:
        """How the run is evaluated, worked out once; from now on its checkpoints are kept for this watcher."""
        with self._lock:
            try:
                if run.root not in self._evaluations:
                    self._evaluations[run.root] = evaluation_of_run(run, self.order)
                evaluation = self._evaluations[run.root]
                if evaluation is not None and run.root not in self._ended and not self._has_stopped.is_set():
                    run.ledger.watch(evaluation.kind)
            except UserError as error:
                self._give_up_run(run, error)
            return self._evaluations[run.root]

    def _lacking(self, run: RunFolder) -> Iterator[Subject]:
        """The run's checkpoints without a result, oldest first, each claimed and pinned while it is evaluated."""
        evaluation = self._evaluation_of(run)
        if evaluation is None:
            return
        run.ledger.sweep()
        for step in self._steps_to_do(run, evaluation):
            name = run.checkpoint(step).name
            with run.ledger.claim(name) as is_mine:
                if not is_mine or run.ledger.result(name, evaluation.kind).exists():
                    continue
                try:
                    model = pin(run, step)
                except UserError as error:
                    self.give_up(run, step, error)
                    continue
                if model is not None:
                    try:
                        yield Subject(run.name, str(model), evaluation, run, step)
                    finally:
                        run.ledger.release(name)

    def _steps_to_do(self, run: RunFolder, evaluation: Evaluation) -> list[int]:
        """The steps whose checkpoints have no result and are not left out."""
        return [step for step in steps_to_do(run, evaluation.kind) if run.checkpoint(step) not in self._left_out]

    def _has_live_job(self) -> bool:
        """Whether a job is to go on with a run that stopped before its goal; then all have a minute more."""
        stopped = [run for run in self._runs() if (status := run.read_status()) and status.state != "finished"]
        try:
            is_live = has_live_job(stopped)
        except UserError as error:
            is_live = may_go_on(stopped, error)
        if is_live:
            self._stopped_at.clear()
        return is_live

    def _has_unfinished(self) -> bool:
        """Whether checkpoints that others have claimed still lack results."""
        evaluations = self._evaluations.copy()  # the thread adds to it
        known = ((RunFolder(root), evaluation) for root, evaluation in evaluations.items() if evaluation)
        return any(self._steps_to_do(run, evaluation) for run, evaluation in known)

    def _end(self, run: RunFolder) -> None:
        """Stop watching a finished run, and unpin its checkpoints that are left out.

        One that may go on keeps its checkpoints for the next watcher.
        """
        evaluation, status = self._evaluations.get(run.root), run.read_status()
        is_finished = status is not None and status.state == "finished"
        if is_finished and evaluation is not None and not self._steps_to_do(run, evaluation):
            with self._lock:
                run.ledger.unwatch(evaluation.kind)
                self._ended.add(run.root)
            run.ledger.sweep()


def has_begun(path: Path) -> bool:
    """Whether a run has begun; its record is written after its arguments, so then both are there."""
    return RunFolder(path).config.is_file() and RunFolder(path).record.is_file()


def may_go_on(stopped: Sequence[RunFolder], error: UserError) -> bool:
    """Whether to wait for runs of whose jobs nobody tells, by an `error`.

    A scheduler may answer later. The container of a job has no command to ask it, and has its own limit of time. On any
    other machine without the scheduler, as with a run that was copied, it is told that nobody waits.
    """
    names = [run.name for run in stopped if (status := run.read_status()) and status.state != "failed"]
    if not isinstance(error, NoSchedulerError) or "SLURM_JOB_ID" in os.environ:
        return bool(names)
    if names:
        logger().warning("%s: stopped, and waited for no longer: %s", ", ".join(names), one_line(str(error)))
    return False


def steps_to_do(run: RunFolder, kind: str) -> list[int]:
    """The steps whose checkpoints, whole or pinned, have no result of a kind."""
    pinned = {int(checkpoint.rpartition("-")[2]) for checkpoint in run.ledger.pinned()}
    steps = {step for step, _ in run.whole_checkpoints()} | pinned
    return [step for step in sorted(steps) if not run.ledger.result(run.checkpoint(step).name, kind).exists()]


def pin(run: RunFolder, step: int) -> Path | None:
    """The pinned model of a checkpoint; None where it is gone.

    Raises:
        UserError: the checkpoint has no model, or the run's folder cannot be written.
    """
    checkpoint = run.checkpoint(step)
    model = CheckpointFolder(checkpoint).model
    try:
        return run.ledger.pin(checkpoint.name, model)
    except OSError as error:
        if not model.is_dir():
            raise UserError(f"{checkpoint} has no model/: nothing can be evaluated; remove it") from error
        reason = error.strerror or error
        raise UserError(f"{run.evals} cannot be written: {reason}; make room or ask its owner") from error
