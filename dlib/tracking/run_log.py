"""Where callbacks put their numbers: the run's two files, then the trackers. Silent but in the first process.

It stands apart from both so that a callback need not know that there are two files, or any trackers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dlib.args import ExperimentArgs
from dlib.process.errors import UserError
from dlib.process.ranks import global_rank, is_rank_zero, logger
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import MetricsLog, read_metrics
from dlib.tracking import Tracker, build_trackers


class Newest(dict[str, float]):
    """The newest value of each name, the same in every process.

    What each process logs or measures for itself is the first one's: the others refuse to say it, as they would decide
    otherwise than the first and wait for it in vain.
    """

    def __init__(self, values: Mapping[str, float]) -> None:
        """Begin with values that all processes know."""
        super().__init__(values)
        self._withheld: set[str] = set()

    def take_own(self, values: Mapping[str, float]) -> None:
        """Take numbers that may be others in each process."""
        if is_rank_zero():
            self.update(values)
            return
        self._withheld |= values.keys()
        for name in values:
            self.pop(name, None)

    def get(self, name: str, default: Any = None) -> Any:  # dict's own does not ask __missing__
        """The value of a name; the default where nobody has one."""
        return self[name] if name in self or name in self._withheld else default

    def __missing__(self, name: str) -> float:
        """Refuse what the first process alone may have."""
        if is_rank_zero():
            raise KeyError(name)
        raise UserError(
            f"run_log.newest[{name!r}]: the first process alone may have it, and this is rank {global_rank()}: take "
            "what self.log put into trainer.callback_metrics, with sync_dist=True for the same number in every process"
        )


class RunLog:
    """Numbers of the newest step gather here until `flush`, which makes one record of them.

    Attributes:
        newest: the newest value of each name, also where a session goes on.
    """

    def __init__(
        self, folder: RunFolder | None, trackers: Sequence[Tracker] = (), newest: Mapping[str, float] = {}
    ) -> None:
        """Write to `folder` and to `trackers`, after the `newest` values; without a folder, nowhere."""
        self.newest = Newest(newest)
        self._trackers = trackers
        self._metrics = MetricsLog(folder.metrics) if folder else None
        self._performance = MetricsLog(folder.performance) if folder else None
        self._gathered: dict[str, float] = {}
        self._step = 0

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers that the run computes: they go to metrics.jsonl, and are the same in every repetition."""
        self.newest.update(values)
        self._gather(step, values, self._metrics)

    def record_own(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers that each process computes for itself, as `self.log` does: the first one's are recorded."""
        self.newest.take_own(values)
        self._gather(step, values, self._metrics)

    def measure(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers that the machine gives: they go to performance.jsonl, and never repeat."""
        self.newest.take_own(values)
        self._gather(step, values, self._performance)

    def _gather(self, step: int, values: Mapping[str, float], log: MetricsLog | None) -> None:
        if log is None or not values:
            return
        log.add(step, values)
        self._step = step
        self._gathered.update(values)

    def flush(self) -> None:
        """Write the step's records."""
        if self._metrics is None or self._performance is None:
            return
        self._metrics.flush()
        self._performance.flush()
        if self._gathered:
            for tracker in self._trackers:
                tracker.log(self._step, self._gathered)
        self._gathered = {}

    def tell(self, tracker: Tracker) -> None:
        """Pass everything on to one more sink from now on; in the first process."""
        if self._metrics is not None:
            self._trackers = [*self._trackers, tracker]

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """Hand a whole checkpoint to the trackers that store files."""
        for tracker in self._trackers:
            tracker.upload_checkpoint(folder, aliases)

    def finish(self, state: str) -> None:
        """Write what is left and end the trackers' sessions; `state` is the run's."""
        self.flush()
        for tracker in self._trackers:
            tracker.finish(state)


def open_run_log(folder: RunFolder, args: ExperimentArgs, step: int) -> RunLog:
    """The log of a session that begins after `step` optimizer steps; records beyond it are cut off.

    Raises:
        UserError: `--trackers` names something unknown or not installed.
    """
    newest = read_newest(folder, step)
    if not is_rank_zero():
        return RunLog(None, newest=newest)
    for path in (folder.metrics, folder.performance):
        MetricsLog(path).rewind(step)
    last = max((record["step"] for record in read_metrics(folder.metrics)), default=0)
    if step - last >= args.tracking.log_interval:
        logger().warning("%s lacks the records from step %d to %d", folder.metrics, last + 1, step)
    return RunLog(folder, build_trackers(args.tracking, folder, config=asdict(args), from_step=step), newest)


def read_newest(folder: RunFolder, step: int) -> dict[str, float]:
    """The newest value of each name up to `step`. Any process may ask: nobody changes these records."""
    newest: dict[str, float] = {}
    for path in (folder.performance, folder.metrics):
        for record in read_metrics(path) if step else ():
            if record["step"] <= step:
                newest.update(record)
    newest.pop("step", None)
    return newest
