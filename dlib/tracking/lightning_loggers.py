"""Lightning's loggers, both ways: what Lightning logs reaches the run's files, and the run's numbers a user's `Logger`.

It stands apart from the run log, which knows nothing of Lightning.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from dlib.tracking.run_log import RunLog

MEASURED = ("performance/", "DeviceStatsMonitor")
"""Beginnings of the names of numbers that the machine gives, and that never repeat."""


class RunLogger(Logger):
    """The trainer's logger: what `self.log` or one of Lightning's callbacks says joins the record of the step.

    It counts optimizer steps as the run does; Lightning counts those of the session.
    """

    def __init__(self, run_log: RunLog, logged_step: Callable[[], int | None]) -> None:
        """Write to `run_log` at the step that `logged_step` returns; nothing where it returns None."""
        super().__init__()
        self._run_log = run_log
        self._logged_step = logged_step

    @property
    def name(self) -> None:
        """None: the run's folder has it."""

    @property
    def version(self) -> None:
        """None: a run has one."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Take numbers of the step that is being done; `step` is Lightning's count, and left aside."""
        run_step = self._logged_step()
        if run_step is None:
            return
        numbers = {name: float(value) for name, value in metrics.items()}
        measured = {name: value for name, value in numbers.items() if name.startswith(MEASURED)}
        self._run_log.measure(run_step, measured)
        self._run_log.record_own(run_step, {name: value for name, value in numbers.items() if name not in measured})

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Leave it to config.yml, which has all arguments."""


class LoggerTracker:
    """A `Logger` of the user's as a sink beside metrics.jsonl.

    It is told each record as it is written, with the run's count of steps. What a killed session told it beyond its
    last checkpoint it is told again.
    """

    def __init__(self, logger: Logger) -> None:
        """Pass everything on to `logger`."""
        self.logger = logger

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the numbers of an optimizer step."""
        self.logger.log_metrics({name: value for name, value in values.items() if not isinstance(value, str)}, step)

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """Loggers store no checkpoints of ours."""

    def finish(self, state: str) -> None:
        """Has it write what it keeps."""
        self.logger.finalize("success" if state == "finished" else "aborted")
