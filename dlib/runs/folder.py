"""The folder of a run, and the writers that keep every file in it whole.

Whatever has its final name is whole: it is written under another name beside it, flushed to the disk, and renamed. A
process killed in the middle leaves only dotted names, which the next process to hold the run removes.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from dlib.process.durable import is_in_place, overwrite_text, refusals_told, sync, sync_tree, write_text_atomically
from dlib.process.errors import UserError
from dlib.runs.metrics_log import BestMetric
from dlib.runs.paths import CheckpointFolder, RunPaths, checkpoint_step, step_name
from dlib.runs.status import STATES, Status

_HALF_WRITTEN = ".*.writing"
_WRITING = ".writing-"
_REPLACED = ".replaced-"
_REMOVED = ".removed-"
# Listing runs takes the lock for an instant, which must not keep a run from beginning.
_PATIENCE_SECONDS = 0.2


class RunFolder(RunPaths):
    """The folder of one run; making the object touches nothing on disk."""

    def is_foreign(self) -> bool:
        """Whether something other than a run is there: nothing may be written into it, or removed with it."""
        if not self.root.exists() or self.config.is_file():
            return False
        names = {path.name for path in self.root.iterdir()} if self.root.is_dir() else {self.root.name}
        if self.config.name in names:  # by now: the first process writes it while the others look
            return False
        names -= {self.job.name, *(path.name for path in self.root.glob(_HALF_WRITTEN))}
        begun = set(".lock .failures status.json record.json train.log code checkpoints wandb tensorboard".split())
        return bool(names) and not (".lock" in names and names <= begun)

    @contextmanager
    def hold(self) -> Iterator[Callable[[], bool]]:
        """Lock the run for this process, sign its status, and remove what killed processes left.

        Yields:
            A function that tells whether the folder is still in its place: somebody may have moved or removed it.

        Raises:
            UserError: another live process holds the run, or its folder cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_be_written(error) from error
        with self.locked():
            with refusals_told(self.root):
                status = self.read_status() or Status("created", 0, 0, "", 0, "")
                # Signed by this process, for the error message of whoever else wants the run.
                self.write_status(status.state, status.step, status.total_steps, status.reason)
                self._clear_leftovers()
                held = self.lock.stat()
            yield lambda: is_in_place(self.lock, held)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run without waiting; the kernel unlocks it when this process dies, however it dies.

        Raises:
            UserError: another live process holds the run, or its folder cannot be written.
        """
        from filelock import FileLock, Timeout  # here: it takes longer to import than `runs.py list` to answer

        lock = FileLock(self.lock, timeout=_PATIENCE_SECONDS, thread_local=False)
        try:
            lock.acquire()
        except (Timeout, RuntimeError) as error:  # RuntimeError: the holder is this very process
            raise UserError(self.in_use()) from error
        except OSError as error:
            raise self._cannot_be_written(error) from error
        try:
            yield
        finally:
            lock.release()

    def write_status(
        self, state: str, step: int, total_steps: int, reason: str | None = None, best: BestMetric | None = None
    ) -> None:
        """Replaces status.json, signed with this process and the time.

        Args:
            state: one of `STATES`.
            step: optimizer steps done.
            total_steps: optimizer steps of the whole run.
            reason: what made the run fail, or finish early.
            best: the metric that says which checkpoint is the best; None: as before.
        """
        if state not in STATES:
            raise ValueError(f"state {state!r} is none of {', '.join(STATES)}")
        time = datetime.now(timezone.utc).isoformat(timespec="seconds")
        best = best or self.best_metric
        place = time, os.getpid(), os.uname().nodename
        status = Status(state, step, total_steps, *place, reason, best.key, best.highest)
        text = json.dumps(asdict(status), indent=2) + "\n"
        try:
            write_text_atomically(self.status, text)
        except UserError:
            if state != "failed":
                raise
            overwrite_text(self.status, text)

    @property
    def best_metric(self) -> BestMetric:
        """The metric that says which checkpoint is the best."""
        status = self.read_status()
        return BestMetric(status.best_by, status.best_is_highest) if status else BestMetric()

    def read_status(self) -> Status | None:
        """What status.json says; None when it is missing or damaged."""
        try:
            status = Status(**json.loads(self.status.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return status if status.is_sound() else None

    def whole_checkpoints(self) -> list[tuple[int, Path]]:
        """Every finished checkpoint as (step, folder), by step."""
        if not self.checkpoints.is_dir():
            return []
        named = ((checkpoint_step(path.name), path) for path in self.checkpoints.iterdir())
        return sorted((step, path) for step, path in named if step is not None and path.is_dir())

    def publish_checkpoint(self, step: int, write: Callable[[Path], None], needed_bytes: int | None = None) -> Path:
        """Writes a checkpoint so that it is seen whole or not at all; one of the same step is replaced.

        Only the process that holds the run may call this. The metrics of earlier steps are flushed first: a resume cuts
        them back to the checkpoint and must find them all.

        Args:
            step: optimizer steps done.
            write: fills the empty folder that it is given.
            needed_bytes: about how much it writes.

        Raises:
            UserError: the disk does not take it; what was written of it is removed.
        """
        final = self.checkpoint(step)
        temporary = self.checkpoints / f"{_WRITING}{final.name}"
        shutil.rmtree(temporary, ignore_errors=True)
        with refusals_told(final, needed_bytes):
            try:
                self.checkpoints.mkdir(exist_ok=True)
                temporary.mkdir()
                write(temporary)
                sync_tree(temporary)
                self._sync_numbers()
                self._swap_in(temporary, final)
            except Exception:
                shutil.rmtree(temporary, ignore_errors=True)  # the status needs room, too
                raise
        return final

    def remove_old_checkpoints(self, max_checkpoints: int, extra_steps: Collection[int]) -> None:
        """Removes the oldest checkpoints beyond `max_checkpoints` (-1: none), but not the best or `extra_steps`."""
        kept = {*extra_steps, self.pointed_step("best")}
        ordinary = [step for step, _ in self.whole_checkpoints() if step not in kept]
        if max_checkpoints >= 0:
            for step in ordinary[:-max_checkpoints]:
                self.remove_checkpoint(step)

    def remove_checkpoint(self, step: int) -> None:
        """Removes a checkpoint; it loses its name first, so that a half-removed one never looks whole.

        Its model stays under evals/ while an evaluation still needs it.
        """
        folder = self.checkpoint(step)
        self.ledger.keep(folder.name, CheckpointFolder(folder).model)
        doomed = self.checkpoints / f"{_REMOVED}{folder.name}"
        with refusals_told(folder):
            folder.rename(doomed)
            sync(self.checkpoints)
            shutil.rmtree(doomed)

    def point(self, name: str, step: int) -> None:
        """Makes checkpoints/<name> a relative link to the checkpoint of `step`, in one move."""
        temporary = self.checkpoints / f"{_WRITING}{name}"
        with refusals_told(self.checkpoints / name):
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(step_name(step), target_is_directory=True)
            temporary.replace(self.checkpoints / name)
            sync(self.checkpoints)

    def pointed_step(self, name: str) -> int | None:
        """The step of the whole checkpoint that checkpoints/<name> links to, if there is one."""
        folder = (self.checkpoints / name).resolve()
        return checkpoint_step(folder.name) if folder.is_dir() else None

    def remove_all_but_job(self) -> None:
        """Removes the run, but not the script and the log of a job that is running it at this moment."""
        for path in self.root.iterdir():
            if path.name != self.job.name:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        with suppress(OSError):  # the job is still there
            self.root.rmdir()

    def _cannot_be_written(self, error: OSError) -> UserError:
        return UserError(f"--out_dir {self.root.parent}: no run can be written there: {error.strerror}")

    def in_use(self) -> str:
        """That a process holds the run, in words."""
        status = self.read_status()
        holder = f"process {status.pid} on host {status.host}" if status else "another process"
        return f"run '{self.name}' is in use by {holder}; wait for it or choose another --name"

    def _sync_numbers(self) -> None:
        """Waits until the disk has all metrics."""
        for numbers in (self.metrics, self.performance):
            if numbers.exists():
                sync(numbers)
        sync(self.root)

    def _swap_in(self, new: Path, final: Path) -> None:
        """Renames `new` to `final`; what was there keeps another name until then."""
        replaced = self.checkpoints / f"{_REPLACED}{final.name}"
        if final.exists():
            final.rename(replaced)
        new.rename(final)
        sync(self.checkpoints)
        shutil.rmtree(replaced, ignore_errors=True)

    def _clear_leftovers(self) -> None:
        """Removes what killed writers left, and restores a checkpoint whose replacement was not finished."""
        for path in self.root.glob(_HALF_WRITTEN):
            path.unlink()
        shutil.rmtree(self.failures, ignore_errors=True)
        for replaced in self.checkpoints.glob(f"{_REPLACED}*"):
            final = self.checkpoints / replaced.name.removeprefix(_REPLACED)
            if not final.exists():
                replaced.rename(final)
        for prefix in (_WRITING, _REPLACED, _REMOVED):
            for path in self.checkpoints.glob(f"{prefix}*"):
                path.unlink() if path.is_symlink() else shutil.rmtree(path)
