"""What is evaluated of a run, and the checkpoints that must be kept until they are.

    runs/<name>/evals/
      step-00001000.json                 as in training: the run's own development text and settings
      step-00001000-test-1a2b3c4d.json   another text, or other settings
      step-00001000-test-1a2b3c4d.outputs.jsonl       what the model wrote for it, if it writes: a JSON object a line
      .watched, .watched-test-1a2b3c4d   a watcher wants such a result of each checkpoint
      .pinned/step-00001000/             a model that an evaluation uses, or will when its checkpoint is gone
      .claims/step-00001000              locked by the process that evaluates this checkpoint

A result is written last and in one move: if it exists, the evaluation is done. A kill can leave the rest behind: a
claim ends with its process, and a pin stays until its results exist. Training only asks what retention must keep.
"""

import fcntl
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlib.process.durable import refusals_told, sync, write_text_atomically

_CHECKPOINT_NAME = re.compile(r"step-\d+")
_WATCHED = ".watched"
_HIDDEN = "."


@dataclass(frozen=True)
class EvaluationResult:
    """What one file says: the checkpoint's step, and its metrics by name."""

    file: Path
    step: int
    metrics: dict[str, Any]

    def outputs(self, most: int) -> list[dict[str, Any]]:
        """The first of what the model wrote, at most so many objects; none where it wrote nothing."""
        try:
            with _outputs(self.file).open(encoding="utf-8", errors="replace") as lines:
                found = [json.loads(line) for line in itertools.islice(lines, most)]
        except (OSError, ValueError):
            return []
        return [item for item in found if isinstance(item, dict)]


@dataclass(frozen=True)
class EvaluationLedger:
    """The folder `evals/` of a run. A `kind` is what follows the checkpoint in a result's name; often nothing."""

    root: Path

    def result(self, checkpoint: str, kind: str) -> Path:
        """The file of a result; where it exists, the evaluation is done."""
        return self.root / f"{checkpoint}{kind}.json"

    def write(self, checkpoint: str, kind: str, text: str, *, outputs: str = "") -> Path:
        """Writes a result, or replaces the older one of its kind. The caller holds the claim.

        What the model wrote, if anything, is there before it.
        """
        result = self.result(checkpoint, kind)
        with refusals_told(self.root):
            self.root.mkdir(exist_ok=True)
            for half_written in self.root.glob(f".{result.stem}.*"):  # by one who was killed
                half_written.unlink()
            if outputs:
                write_text_atomically(_outputs(result), outputs)
            write_text_atomically(result, text)
        return result

    def results(self) -> list[EvaluationResult]:
        """All results that can be read, by step, then by file."""
        found = (_read(file) for file in sorted(self.root.glob("*.json")))
        return sorted((result for result in found if result), key=lambda result: result.step)

    def watch(self, kind: str) -> None:
        """Keeps each checkpoint from now on until it has a result of this kind."""
        with refusals_told(self.root):
            self.root.mkdir(exist_ok=True)
            (self.root / f"{_WATCHED}{kind}").touch()

    def unwatch(self, kind: str) -> None:
        """Undoes `watch`; the last watcher to leave removes half-made pins of killed processes."""
        (self.root / f"{_WATCHED}{kind}").unlink(missing_ok=True)
        if not any(self.root.glob(f"{_WATCHED}*")):
            for beside in self._pins.glob(f"{_HIDDEN}*"):
                shutil.rmtree(beside, ignore_errors=True)

    def lacks(self, checkpoint: str) -> bool:
        """Whether a watcher still needs a result of this checkpoint."""
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
            The pinned model; None where the checkpoint is gone.

        Raises:
            OSError: the folder cannot be written, or the checkpoint has no model.
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
        """Pins the model of a checkpoint that is about to be removed, if a watcher still needs it.

        It never fails: training goes on even where an evaluation has to do without this checkpoint.
        """
        with suppress(OSError):
            if self.lacks(checkpoint):
                self.pin(checkpoint, model)

    def release(self, checkpoint: str) -> None:
        """Removes a pin that no watcher needs. The caller holds the claim."""
        pinned = self._pins / checkpoint
        if pinned.is_dir() and not self.lacks(checkpoint):
            doomed = self._pins / f"{_HIDDEN}{checkpoint}.removed"
            shutil.rmtree(doomed, ignore_errors=True)
            pinned.rename(doomed)  # first, so that a half-removed one never looks whole
            shutil.rmtree(doomed)

    def sweep(self) -> None:
        """Removes pins that killed evaluations left."""
        for checkpoint in self.pinned():
            with self.claim(checkpoint) as is_mine:
                if is_mine:
                    self.release(checkpoint)

    @contextmanager
    def claim(self, checkpoint: str, *, before_waiting: Callable[[], None] | None = None) -> Iterator[bool]:
        """Keeps other processes from evaluating a checkpoint; the kernel unlocks it when this process dies.

        `before_waiting` is called before it waits for another process; without it nobody waits, and the block is
        entered with False.
        """
        with refusals_told(self.root):
            self.root.mkdir(exist_ok=True)
            claims = self.root / ".claims"
            claims.mkdir(exist_ok=True)
            descriptor = os.open(claims / checkpoint, os.O_RDWR | os.O_CREAT)
        try:
            with refusals_told(self.root):
                is_mine = _lock(descriptor, before_waiting)
            yield is_mine
        finally:
            os.close(descriptor)

    @property
    def _pins(self) -> Path:
        return self.root / ".pinned"


def _outputs(result: Path) -> Path:
    """The file beside a result that has what the model wrote."""
    return result.with_suffix(".outputs.jsonl")


def _read(file: Path) -> EvaluationResult | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        step, metrics = content["step"], content["metrics"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    is_result = isinstance(step, int) and isinstance(metrics, dict)
    return EvaluationResult(file, step, metrics) if is_result else None


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
