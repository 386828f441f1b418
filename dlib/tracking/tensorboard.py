"""TensorBoard event files under the run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlib.args import TrackingArgs
from dlib.process.durable import refusals_told
from dlib.process.ranks import say
from dlib.runs.folder import RunFolder
from dlib.tracking.packages import import_package


class TensorBoardTracker:
    """TensorBoard event files under the run folder."""

    def __init__(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any], from_step: int) -> None:
        import_package("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder.tensorboard
        # What a killed session wrote beyond the checkpoint is hidden, so that every step is shown once.
        with refusals_told(self._folder):
            self._writer = SummaryWriter(str(self._folder), purge_step=from_step + 1)
        say(f"TensorBoard: tensorboard --logdir {folder.tensorboard}")

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes the numbers of an optimizer step."""
        with refusals_told(self._folder):
            for key, value in values.items():
                if not isinstance(value, str):
                    self._writer.add_scalar(key, value, step)

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """Does nothing: TensorBoard stores no checkpoints."""

    def finish(self, state: str) -> None:
        """Writes what is still buffered."""
        with refusals_told(self._folder):
            self._writer.close()
