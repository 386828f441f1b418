"""How the worker processes of a loader take signals: those are for the training process, which saves and then ends.

A terminal sends Ctrl-C to all its processes, and a scheduler SIGTERM to all those of a job. A worker that
died of it would break the loader in the middle of the step that is to be finished and saved.
"""

import multiprocessing
import os
import signal
import sys
import threading
from types import TracebackType


def leave_signals_to_trainer(worker: int) -> None:
    """Let only the training process end this worker (`worker_init_fn` of a `DataLoader`).

    SIGTERM must still work when it comes from there: so multiprocessing ends the workers of a process that fails.
    Where the system does not tell who sent a signal (macOS), SIGTERM keeps its meaning.
    """
    sys.excepthook = tell_no_closed_pipe
    for number in (signal.SIGINT, signal.SIGUSR1):
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
