"""The worker processes of the training loader: how a step comes from them, and how they take signals.

torch hands over each tensor as a file descriptor of shared memory. A step of thousands of micro-batches needs more of
them than a process may have open, and a worker that cannot send is waited for without end. So a step crosses as arrays
of NumPy's, which are sent as bytes.

Signals are for the training process, which saves and then ends. A terminal sends Ctrl-C to all its processes, and a
scheduler SIGTERM to all those of a job. A worker that died of it would break the loader in the middle of the step that
is to be finished and saved.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch.utils.data import DataLoader, Dataset

from dlib.process.errors import UserError


class ArraySteps(Dataset[Any]):
    """The items of another dataset, with arrays for tensors; an error that is no fault of ours is an item, too."""

    def __init__(self, steps: Dataset[dict[str, Any]]) -> None:
        """Take the items of `steps`."""
        self.steps = steps

    def __getitem__(self, step: int) -> Any:
        """One item."""
        try:
            return apply_to_collection(self.steps[step], torch.Tensor, torch.Tensor.numpy)
        except (UserError, OSError) as error:  # torch would put a traceback into its message
            return error


def with_tensors(item: Any) -> dict[str, Any]:
    """An item of `ArraySteps` as it was, its tensors in memory of their own.

    Raises:
        UserError, OSError: what stopped the worker that prepared it.
    """
    if isinstance(item, Exception):
        raise item
    return apply_to_collection(item, np.ndarray, torch.tensor)


def as_it_is(item: Any) -> Any:
    """The item, of which torch's loader would make tensors."""
    return item


class StepLoader(DataLoader[Any]):
    """A loader of optimizer steps; an error in a worker is raised here as if there were no workers."""

    def __init__(self, steps: Dataset[dict[str, Any]], **options: Any) -> None:
        """Take the options of torch's loader; it forms no batches, as an item is one."""
        super().__init__(
            ArraySteps(steps),
            batch_size=None,
            collate_fn=as_it_is,
            worker_init_fn=leave_signals_to_trainer,
            **options,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """The steps, in order."""
        return map(with_tensors, super().__iter__())


def leave_signals_to_trainer(worker: int) -> None:
    """Let only the training process end this worker (`worker_init_fn` of a `DataLoader`).

    Its own SIGTERM must still work: multiprocessing ends the workers of a failing process by it.
    Where the system does not tell who sent a signal (macOS), SIGTERM keeps its meaning.
    """
    sys.excepthook = tell_no_closed_pipe
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=end_when_trainer_says, daemon=True).start()


def tell_no_closed_pipe(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print no traceback of a pipe that a trainer closed by ending at once; that is no fault of the worker."""
    if not issubclass(kind, (EOFError, ConnectionError)):
        sys.__excepthook__(kind, error, traceback)


def end_when_trainer_says() -> None:
    """Wait for the SIGTERM of the process that started this one, over those of any other."""
    trainer = multiprocessing.parent_process()
    assert trainer is not None
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer.pid:
        pass
    os._exit(0)
