"""The ledger of a run's evaluations: what is done, who is at it, and what must not be thrown away before.

    runs/<name>/evals/
      step-00001000.json                 as in training: the run's own development text and settings
      step-00001000-test-1a2b3c4d.json   another text, or other settings
      .watched, .watched-test-1a2b3c4d   each checkpoint is to have such a result
      .pinned/step-00001000/             a model that is being evaluated, or still has to be when its checkpoint is gone
      .claims/step-00001000              who evaluates the checkpoint has the kernel's lock of this file

A result is written last and in one move, so a result that is there stands for an evaluation that is done. All else
can be left behind by a kill: a claim ends with its process, and a pin stays until its results are there.

It stands apart from the run's folder, which training writes. Training asks it one thing: what retention has to keep.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dlib.process.durable import refusals_told, sync, write_text_atomically

_CHECKPOINT_NAME = re.compile(r"step-\d+")
_WATCHED = ".watched"
_HIDDEN = "."


@dataclass(frozen=True)
class EvaluationLedger:
    """The folder `evals/` of a run. A `kind` is what a result's name has after the checkpoint's; often nothing."""

    root: Path

    def result(self, checkpoint: str, kind: str) -> Path:
        """The file of a result; where it exists, the evaluation is done."""
        return self.root / f"{checkpoint}{kind}.json"

    def write(self, checkpoint: str, kind: str, text: str) -> Path:
        """Writes a result, which replaces an older one of the same kind; to be called with the claim.

        Raises:
            UserError: the folder cannot be written.
        """
        result = self.result(checkpoint, kind)
        with self._writing():
            self.root.mkdir(exist_ok=True)
            for half_written in self.root.glob(f".{result.name}.*"):  # by one who was killed
                half_written.unlink()
            write_text_atomically(result, text)
        return result

    def watch(self, kind: str) -> None:
        """From now on each checkpoint is to have a result of this kind, and is kept until then.

        Raises:
            UserError: the folder cannot be written.
        """
        with self._writing():
            self.root.mkdir(exist_ok=True)
            (self.root / f"{_WATCHED}{kind}").touch()

    def unwatch(self, kind: str) -> None:
        """Takes `watch` back; the last one to leave removes what killed processes left half linked."""
        (self.root / f"{_WATCHED}{kind}").unlink(missing_ok=True)
        if not any(self.root.glob(f"{_WATCHED}*")):
            for beside in self._pins.glob(f"{_HIDDEN}*"):
                shutil.rmtree(beside, ignore_errors=True)

    def lacks(self, checkpoint: str) -> bool:
        """Whether somebody watches the run who has no result for this checkpoint yet."""
        kinds = (path.name.removeprefix(_WATCHED) for path in self.root.glob(f"{_WATCHED}*"))
        return any(not self.result(checkpoint, kind).exists() for kind in kinds)

    def pinned(self) -> dict[str, Path]:
        """The models that are pinned, by the name of their checkpoint."""
        if not self._pins.is_dir():
            return {}
        return {path.name: path for path in sorted(self._pins.iterdir()) if _CHECKPOINT_NAME.fullmatch(path.name)}

    def pin(self, checkpoint: str, model: Path) -> Path | None:
        """Links a checkpoint's model to where nobody removes it.

        Hard links cost neither time nor room, and outlive the checkpoint. Where there are none, files are copied.

        Returns:
            The pinned model; None where the checkpoint has gone meanwhile.

        Raises:
            OSError: the folder cannot be written, or is full, or the checkpoint is there but has no model.
        """
        pinned = self._pins / checkpoint
        if pinned.is_dir():
            return pinned
        beside = self._pins / f"{_HIDDEN}{checkpoint}.{os.getpid()}"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            shutil.copytree(model, beside, copy_function=_link)
            beside.rename(pinned)
            sync(self._pins)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            if not pinned.is_dir() and model.parent.is_dir():
                raise
        return pinned if pinned.is_dir() else None

    def keep(self, checkpoint: str, model: Path) -> None:
        """Pins the model of a checkpoint that is about to be removed, if somebody still has to evaluate it.

        It never fails: training goes on even where an evaluation has to do without this checkpoint.
        """
        with suppress(OSError):
            if self.lacks(checkpoint):
                self.pin(checkpoint, model)

    def release(self, checkpoint: str) -> None:
        """Removes a pin, unless somebody still has to evaluate it; to be called with the claim."""
        pinned = self._pins / checkpoint
        if pinned.is_dir() and not self.lacks(checkpoint):
            doomed = self._pins / f"{_HIDDEN}{checkpoint}.removed"
            shutil.rmtree(doomed, ignore_errors=True)
            pinned.rename(doomed)  # first, so that a half-removed one never looks whole
            shutil.rmtree(doomed)

    def sweep(self) -> None:
        """Removes pins that are of no more use: of an evaluation that was killed, or pinned as it ended."""
        for checkpoint in self.pinned():
            with self.claim(checkpoint) as is_mine:
                if is_mine:
                    self.release(checkpoint)

    @contextmanager
    def claim(self, checkpoint: str, *, before_waiting: Callable[[], None] | None = None) -> Iterator[bool]:
        """Keeps others from evaluating a checkpoint; the kernel lets go when this process dies, however it dies.

        Args:
            checkpoint: its name.
            before_waiting: is called where somebody has it, before waiting until they are done; without it nobody
                waits, and the block is entered with False.

        Raises:
            UserError: the folder cannot be written, or its file system has no locks.
        """
        with self._writing():
            self.root.mkdir(exist_ok=True)
            self._claims.mkdir(exist_ok=True)
            descriptor = os.open(self._claims / checkpoint, os.O_RDWR | os.O_CREAT)
        try:
            with self._writing():
                is_mine = _lock(descriptor, before_waiting)
            yield is_mine
        finally:
            os.close(descriptor)

    @property
    def _pins(self) -> Path:
        return self.root / ".pinned"

    @property
    def _claims(self) -> Path:
        return self.root / ".claims"

    def _writing(self) -> AbstractContextManager[None]:
        return refusals_told(self.root)


def _lock(descriptor: int, before_waiting: Callable[[], None] | None) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if before_waiting is None:
            return False
        before_waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
