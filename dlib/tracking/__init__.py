"""Where the numbers of a run go besides metrics.jsonl: W&B and TensorBoard.

They get copies, so nothing that happens there may stop or delay a run: a failure is told once, and the run goes on.
Only the first process of a run has trackers, and each imports its package when it is built.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dlib.args import TrackingArgs
from dlib.args.tables import TRACKERS, load
from dlib.config.validation import check_trackers
from dlib.runs.folder import RunFolder


class Tracker(Protocol):
    """A place that numbers are copied to."""

    def __init__(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any], from_step: int) -> None:
        """Begins a session after `from_step` optimizer steps: later numbers, of a session that was killed, come again.

        Raises:
            UserError: its package is missing.
        """

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the values of an optimizer step."""

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """Stores a checkpoint folder under names like `best`, where the tracker keeps files."""

    def finish(self, state: str) -> None:
        """Ends the session; `state` is the run's: finished, preempted or failed."""


def build_trackers(
    args: TrackingArgs, folder: RunFolder, *, config: Mapping[str, Any], from_step: int
) -> list[Tracker]:
    """The trackers that `args.trackers` names, for a session that begins after `from_step` optimizer steps.

    Raises:
        UserError: a name is no tracker, or its package is missing.
    """
    check_trackers(args.trackers, "--trackers")
    names = [name for name in args.trackers if name != "none"]
    return [load(TRACKERS[name])(args, folder, config, from_step) for name in dict.fromkeys(names)]
