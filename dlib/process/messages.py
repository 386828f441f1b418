"""What a run says to a person: its own messages, without the chatter of the libraries below, kept in train.log too."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dlib.process.durable import refusals_told
from dlib.process.errors import printable
from dlib.process.homes import move_homes_that_cannot_be_written
from dlib.process.ranks import logger

NOT_TRUE = (
    # A guess from the number of workers; performance/data_wait_share in performance.jsonl is measured.
    r".*does not have many workers.*",
    # srun is no better way: `dlib/process/launching.py` starts the processes itself, or takes those that srun started.
    r"The `srun` command is available on your system but is not used.*",
    # Each process has chosen its device before (Lightning), which is what the barrier takes.
    r".*barrier\(\): using the device under current context.*",
    # `TrainingModule.train` leaves those alone that learn nothing: a teacher is not to drop out what it knows.
    r"Found \d+ module\(s\) in eval mode at the start of training.*",
)
"""Warnings that guess, and wrongly here."""

BETWEEN_LIBRARIES = (
    r".*`isinstance\(treespec, LeafSpec\)`.*",  # torch to Lightning
    r"TypedStorage is deprecated.*",  # torch to safetensors
    r"The '\w+' attribute with value .* was provided to the `Field\(\)` function.*",  # pydantic to W&B
    r"`gradient_checkpointing_enable` is deprecated.*",  # transformers to us: its oldest versions have no other name
)
"""What a library says to the authors of another, which calls it in an old way. The versions are locked."""

LEVELS = {
    # They tell which devices there are, and why a training ended: the run's summary and its status say so.
    "lightning.pytorch.utilities.rank_zero": logging.WARNING,
    "lightning.fabric.utilities.rank_zero": logging.WARNING,
    "lightning.fabric.utilities.distributed": logging.WARNING,
    # It warns of each attempt to reach the hub, and of a missing login: `dlib/models/hub.py` tells it once.
    "huggingface_hub": logging.ERROR,
}
"""From what level on a library's messages are shown."""


def quiet_libraries() -> None:
    """Silence what says nothing of this run; to be called before the libraries are imported, but in a notebook."""
    move_homes_that_cannot_be_written()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # set by hand: forked loader workers must not deadlock
    if "transformers" in sys.modules and os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1":  # it has read that already
        sys.modules["transformers"].logging.disable_progress_bar()
    # Not their packages: those set their own level when they are imported.
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
    for pattern in (*NOT_TRUE, *BETWEEN_LIBRARIES):
        warnings.filterwarnings("ignore", message=pattern)


class LogFile(logging.FileHandler):
    """A log file, which goes without what a signal's handler says while another line is written, as stderr does."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, with control characters written out: the file is read in a terminal too."""
        return printable(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Print what went wrong, if it is not that; once where the disk takes no more, and the run goes on."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            logger().removeHandler(self)
            logger().warning("%s is written no further: %s", self.baseFilename, error.strerror or error)
        elif not isinstance(error, RuntimeError):
            super().handleError(record)


def keep_in_log(text: str) -> None:
    """Write an error into the run's log file alone: stderr has it from whoever catches it."""
    for handler in logger().handlers:
        if isinstance(handler, LogFile):
            handler.handle(logging.LogRecord(logger().name, logging.ERROR, "", 0, text, (), None))


@contextmanager
def kept_messages(log_file: Path) -> Iterator[None]:
    """Write every message to a run's log file as well, with the time; for the first process, which holds the run."""
    with refusals_told(log_file):
        handler = LogFile(log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger().addHandler(handler)
    try:
        yield
    finally:
        logger().removeHandler(handler)
        with suppress(OSError):  # what the disk does not take was told when it was said
            handler.close()
