"""What a run says to a person: its own messages, without the chatter of the libraries below, kept in train.log too."""

import logging
import os
import sys
import warnings
from pathlib import Path

from dlib.process.durable import refusals_told
from dlib.process.errors import printable
from dlib.process.ranks import is_rank_zero, logger

CHATTER = (
    r".*does not have many workers.*",
    r".*`isinstance\(treespec, LeafSpec\)`.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*You defined a `validation_step` but have no `val_dataloader`.*",
    r".*You called `self\.log.*",
    r".*module\(s\) in eval mode at the start of training.*",
    r".*barrier\(\): using the device under current context.*",
    r"TypedStorage is deprecated.*",
    r"The `srun` command is available on your system but is not used.*",
    r"The '\w+' attribute with value .* was provided to the `Field\(\)` function.*",
)
"""Warnings that are true, and of no use to somebody who uses this project."""

CHATTERERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.distributed",
    "huggingface_hub",
)
"""Loggers whose errors alone are shown."""


def quiet_libraries() -> None:
    """Silence what says nothing of this run; to be called before the libraries are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # set by hand: forked loader workers must not deadlock
    # Not their packages: those set their own level when they are imported.
    for name in CHATTERERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for pattern in CHATTER:
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


def keep_messages(log_file: Path) -> None:
    """Write every further message to a run's log file as well, with the time."""
    if not is_rank_zero():
        return
    with refusals_told(log_file):
        handler = LogFile(log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger().addHandler(handler)
