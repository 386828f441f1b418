"""The paths inside a run's folder. This is the only file that spells them. The folder:

runs/<name>/
  config.yml  record.json  status.json  train.log  code/
  metrics.jsonl      what the run computes; the same bytes whenever it is repeated
  performance.jsonl  what was measured of the machine meanwhile (tokens/s, memory)
  anomalies.jsonl    steps whose numbers are not finite, or whose loss is far above those before, with their samples
  checkpoints/step-00001000/{model/, state.ckpt}  last  best
  evals/             what later evaluations found (dlib/runs/ledger.py)
"""

import re
from dataclasses import dataclass
from pathlib import Path

from dlib.runs.ledger import EvaluationLedger

_CHECKPOINT_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class CheckpointFolder:
    """The folder of one checkpoint."""

    root: Path

    @property
    def model(self) -> Path:
        """What transformers loads: configuration, weights, tokenizer."""
        return self.root / "model"

    @property
    def modules(self) -> Path:
        """The weights of the objective's own networks; beside the model's, because they go wherever it goes."""
        return self.model / "objective.safetensors"

    @property
    def state(self) -> Path:
        """The rest of the training state."""
        return self.root / "state.ckpt"


@dataclass(frozen=True)
class RunPaths:
    """The paths inside the folder of one run; making the object touches nothing on disk."""

    root: Path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.root.name

    @property
    def config(self) -> Path:
        """The resolved arguments."""
        return self.root / "config.yml"

    @property
    def record(self) -> Path:
        """What is needed to repeat the run."""
        return self.root / "record.json"

    @property
    def status(self) -> Path:
        """Where the run stands."""
        return self.root / "status.json"

    @property
    def metrics(self) -> Path:
        """The values that the run computes, one record a logged step."""
        return self.root / "metrics.jsonl"

    @property
    def performance(self) -> Path:
        """What was measured of the machine, which no two runs share, one record a logged step."""
        return self.root / "performance.jsonl"

    @property
    def anomalies(self) -> Path:
        """Steps that a person should look at, with their samples."""
        return self.root / "anomalies.jsonl"

    @property
    def evals(self) -> Path:
        """What later evaluations found, a JSON object a file, named after the checkpoint."""
        return self.root / "evals"

    @property
    def ledger(self) -> EvaluationLedger:
        """What is done of these evaluations."""
        return EvaluationLedger(self.evals)

    @property
    def lock(self) -> Path:
        """The empty file whose kernel lock the run's process has."""
        return self.root / ".lock"

    @property
    def log(self) -> Path:
        """What the run told its user."""
        return self.root / "train.log"

    @property
    def code(self) -> Path:
        """The code that no commit holds."""
        return self.root / "code"

    @property
    def uncommitted_diff(self) -> Path:
        """Changes to tracked files, as `git apply` takes them."""
        return self.code / "uncommitted.diff"

    @property
    def untracked(self) -> Path:
        """Copies of files that git neither tracks nor ignores."""
        return self.code / "untracked"

    @property
    def wandb_run_id(self) -> Path:
        """The id of the run on W&B, by which a resumed run goes on with it."""
        return self.wandb / "run-id.txt"

    @property
    def wandb(self) -> Path:
        """The files of W&B, which appends `wandb` to the folder it is given by itself."""
        return self.root / "wandb"

    @property
    def tensorboard(self) -> Path:
        """The event files of TensorBoard."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints and the links to them."""
        return self.root / "checkpoints"

    @property
    def last(self) -> Path:
        """Link to the newest checkpoint."""
        return self.checkpoints / "last"

    @property
    def best(self) -> Path:
        """Link to the checkpoint of the lowest dev loss."""
        return self.checkpoints / "best"

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
