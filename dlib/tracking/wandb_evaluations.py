"""Evaluations on W&B: a W&B run of their own beside the training run's, in its group.

The training run's own W&B run is not touched: it may be live in another process, and W&B drops what comes to it late.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from dlib.args import TrackingArgs
from dlib.runs.folder import RunFolder
from dlib.tracking.weights_and_biases import WandbTracker


class WandbEvaluations(WandbTracker):
    """A session of evaluations; several may be open at once, and each is a W&B run.

    Attributes:
        run_root: folder of the training run.
    """

    def __init__(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any]) -> None:
        self.run_root = folder.root
        super().__init__(args, folder, config, from_step=0)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the metrics of a checkpoint; steps may come in any order, and more than once."""
        if self._run is not None:
            self._attempt("logging", lambda: self._run.log({"step": step, **values}))

    def _identity(self, folder: RunFolder) -> dict[str, Any]:
        return {"name": f"{folder.name}-evaluation", "id": uuid.uuid4().hex[:8], "job_type": "evaluation"}

    def _prepare(self, folder: RunFolder, from_step: int) -> None:
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
