"""Where the numbers of a run go besides metrics.jsonl: W&B and TensorBoard.

metrics.jsonl is the truth; the sinks here are copies that are nicer to look at. So nothing that happens to a sink may
stop or delay a run: what fails is told once, and the run goes on. Packages are imported when a sink is built. Only the
first process of a run builds sinks.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dlib.args import TrackingArgs
from dlib.config.validation import check_trackers
from dlib.runs.folder import RunFolder
from dlib.tracking.tensorboard import TensorBoardTracker
from dlib.tracking.weights_and_biases import WandbTracker


class Tracker(Protocol):
    """A sink for numbers."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the values of an optimizer step."""

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """Stores a checkpoint folder under names like `best`, where the sink has room for files."""

    def finish(self, state: str) -> None:
        """Ends the session; `state` is the run's: finished, preempted or failed."""


TRACKERS: dict[str, Callable[[TrackingArgs, RunFolder, Mapping[str, Any], int], Tracker]] = {
    "wandb": WandbTracker,
    "tensorboard": TensorBoardTracker,
}


def build_trackers(
    args: TrackingArgs, folder: RunFolder, *, config: Mapping[str, Any], from_step: int
) -> list[Tracker]:
    """The sinks that `args.trackers` names.

    Args:
        args: the names, and where W&B puts the run.
        folder: the run; this process holds it, and has cut its metrics back to `from_step`.
        config: the run's arguments, for the sinks to show.
        from_step: optimizer steps done when this session begins.

    Raises:
        UserError: a name that is no tracker, or a package that is missing.
    """
    check_trackers(args.trackers, "--trackers")
    names = [name for name in args.trackers if name != "none"]
    return [TRACKERS[name](args, folder, config, from_step) for name in dict.fromkeys(names)]
