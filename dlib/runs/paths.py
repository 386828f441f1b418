"""The paths inside a run's folder. This is the only file that spells them. The folder:

runs/<name>/
  config.yml  record.json  status.json  train.log  code/
  metrics.jsonl      what the run computes; the same bytes whenever it is repeated
  performance.jsonl  what was measured of the machine meanwhile (tokens/s, memory)
  anomalies.jsonl    steps whose numbers are not finite, or whose loss is far above those before, with their samples
  checkpoints/step-00001000/{model/, state.ckpt}  last  best
  evals/             what later evaluations found (dlib/runs/ledger.py)
  job/               the job of a cluster that trains it: script, log, code (dlib/launch/job.py)
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlib.runs.ledger import EvaluationLedger

_CHECKPOINT_NAME = re.compile(r"step-(\d{8,})")
_SHORT_HASH = 12


class _Below:
    """A path below the folder `root` of the object that has it."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __get__(self, folder: Any, owner: type) -> Path:
        path: Path = folder.root.joinpath(*self._parts)
        return path


@dataclass(frozen=True)
class CheckpointFolder:
    """The folder of one checkpoint."""

    root: Path

    model = _Below("model")
    """What transformers loads: configuration, weights, tokenizer."""
    modules = _Below("model", "objective.safetensors")
    """The weights of the objective's own networks; beside the model's, because they go wherever it goes."""
    state = _Below("state.ckpt")
    """The rest of the training state."""


@dataclass(frozen=True)
class CodeFolder:
    """Code that no commit holds: of the run's beginning, or of a session that went on with other code."""

    root: Path

    diff = _Below("uncommitted.diff")
    """Changes to tracked files, as `git apply` takes them."""
    untracked = _Below("untracked")
    """Copies of files that git neither tracks nor ignores."""


@dataclass(frozen=True)
class RunPaths:
    """The paths inside the folder of one run; making the object touches nothing on disk."""

    root: Path

    config = _Below("config.yml")
    """The resolved arguments."""
    record = _Below("record.json")
    """What is needed to repeat the run."""
    status = _Below("status.json")
    """Where the run stands."""
    metrics = _Below("metrics.jsonl")
    """The values that the run computes, one record a logged step."""
    performance = _Below("performance.jsonl")
    """What was measured of the machine, which no two runs share, one record a logged step."""
    anomalies = _Below("anomalies.jsonl")
    """Steps that a person should look at, with their samples."""
    evals = _Below("evals")
    """What later evaluations found, a JSON object a file, named after the checkpoint."""
    job = _Below("job")
    """The job of a cluster that trains the run; may be there before the run is."""
    lock = _Below(".lock")
    """The empty file whose kernel lock the run's process has."""
    log = _Below("train.log")
    """What the run told its user."""
    failures = _Below(".failures")
    """Why processes other than the first failed, until the first has told it."""
    code = _Below("code")
    """The code that no commit holds."""
    uncommitted_diff = _Below("code", "uncommitted.diff")
    """Changes to tracked files, as `git apply` takes them."""
    untracked = _Below("code", "untracked")
    """Copies of files that git neither tracks nor ignores."""
    wandb = _Below("wandb")
    """The files of W&B, which appends `wandb` to the folder it is given by itself."""
    wandb_run_id = _Below("wandb", "run-id.txt")
    """The id of the run on W&B, by which a resumed run goes on with it."""
    tensorboard = _Below("tensorboard")
    """The event files of TensorBoard."""
    checkpoints = _Below("checkpoints")
    """The checkpoints and the links to them."""
    last = _Below("checkpoints", "last")
    """Link to the newest checkpoint."""
    best = _Below("checkpoints", "best")
    """Link to the best checkpoint."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.root.name

    @property
    def ledger(self) -> EvaluationLedger:
        """Which evaluations are done, and which checkpoints they still need."""
        return EvaluationLedger(self.evals)

    def later_code(self, sha256: str) -> CodeFolder:
        """The code of sessions that went on with uncommitted changes of this hash."""
        return CodeFolder(self.code / "later" / sha256[:_SHORT_HASH])

    def checkpoint(self, step: int) -> Path:
        """The checkpoint of an optimizer step."""
        return self.checkpoints / step_name(step)


def checkpoint_step(name: str) -> int | None:
    """The step in the name of a checkpoint's folder; None where it is no such name."""
    match = _CHECKPOINT_NAME.fullmatch(name)
    return int(match[1]) if match else None


def step_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"
