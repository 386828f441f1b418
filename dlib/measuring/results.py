"""Where an evaluation's numbers go: a file in the run's folder, a line on stdout, a record on W&B.

{"step": 1000, "metrics": {"loss": 3.21, "perplexity": 24.8, ...},
 "checkpoint": ..., "text": ..., "settings": {...}, "hardware": {...}, "packages": {...}, "time": ...}
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dlib.measuring.subjects import Subject
from dlib.process.durable import is_replaceable, write_output
from dlib.runs.metrics_log import encode
from dlib.runs.record import installed_packages
from dlib.tracking.weights_and_biases import WandbEvaluations

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "lightning", "lm_eval", "sacrebleu", "torchmetrics")
"""What the numbers may depend on."""
MODEL_WIDTH, STEP_WIDTH = 28, 8


@dataclass(frozen=True)
class Result:
    """The metrics of a subject, and what they were computed on."""

    subject: Subject
    metrics: Mapping[str, float]
    hardware: Mapping[str, Any]
    seconds: float
    signatures: Mapping[str, str] = field(default_factory=dict)  # how metrics were computed, see `Objective.signatures`
    outputs: Sequence[Mapping[str, Any]] = ()  # what the model wrote, see `Objective.outputs`

    def as_record(self) -> dict[str, Any]:
        """The JSON object that is written."""
        subject = self.subject
        evaluation = subject.evaluation
        where = subject.model if subject.run is None else f"checkpoints/{subject.checkpoint}"
        return {
            "step": subject.step,
            "metrics": {name: encode(value) for name, value in self.metrics.items()},
            "name": subject.name,
            "checkpoint": where,
            "split": None if evaluation.text is None else evaluation.order.split,
            "text": None if evaluation.text is None else str(evaluation.text),
            "settings": evaluation.settings,
            **({"signatures": dict(self.signatures)} if self.signatures else {}),
            "hardware": dict(self.hardware),
            "packages": {name: version for name, version in installed_packages().items() if name in PACKAGES},
            "python": sys.version.split()[0],
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
        }


class Results:
    """Takes results one after the other, in the first process only."""

    def __init__(self, *, as_json: bool, output: Path | None) -> None:
        """Print a table, or JSON lines; write them to the file `output` as well."""
        self.as_json = as_json
        self.output = output
        self._records: list[dict[str, Any]] = []
        self._columns: list[str] = []
        self._wandb: WandbEvaluations | None = None

    def add(self, result: Result) -> None:
        """Write a result, then show it: whoever sees it can rely on the file."""
        record, subject = result.as_record(), result.subject
        if subject.run is not None:
            text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in result.outputs)
            subject.run.ledger.write(subject.checkpoint, subject.evaluation.kind, text, outputs=lines)
        if self.output is not None:
            self._records.append(record)
            if is_replaceable(self.output):
                write_all(self.output, self._records)
        if subject.run is not None:
            self._track(result)
        # Last: stdout may be closed.
        print(json.dumps(record, ensure_ascii=False) if self.as_json else self._line(result), flush=True)

    def _line(self, result: Result) -> str:
        """The next line of the table, with a new heading where its columns changed."""
        subject, metrics = result.subject, result.metrics
        widths = {name: max(12, len(name)) for name in metrics}
        step = "-" if subject.step is None else str(subject.step)
        numbers = "  ".join(f"{shown(value):>{widths[name]}}" for name, value in metrics.items())
        line = f"{subject.name:<{MODEL_WIDTH}}  {step:>{STEP_WIDTH}}  {numbers}"
        if list(metrics) == self._columns:
            return line
        self._columns = list(metrics)
        names = "  ".join(f"{name:>{width}}" for name, width in widths.items())
        return f"{'model':<{MODEL_WIDTH}}  {'step':>{STEP_WIDTH}}  {names}\n{line}"

    def _track(self, result: Result) -> None:
        """Log to the W&B group of the training run, if that logs to W&B."""
        subject, args = result.subject, result.subject.evaluation.args
        assert subject.run is not None
        if "wandb" not in args.tracking.trackers:
            return
        if self._wandb is None or self._wandb.run_root != subject.run.root:
            self.finish()
            asked = any(key.startswith("tracking.") for key in subject.evaluation.order.overrides)
            self._wandb = WandbEvaluations(args.tracking, subject.run, asdict(args), is_asked_for=asked)
        heading = "evaluation" if subject.evaluation.text is None else subject.evaluation.order.split_name
        values = {f"{heading}/{name}": value for name, value in result.metrics.items()}
        self._wandb.log(subject.step or 0, values)

    def finish(self) -> None:
        """Write the output if it is a pipe or a device, which is written once; end the session on W&B."""
        if self.output is not None and self._records and not is_replaceable(self.output):
            write_all(self.output, self._records)
        if self._wandb is not None:
            self._wandb.finish("finished")
            self._wandb = None


def shown(value: float) -> str:
    """A number with six digits, as in the table."""
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


def write_all(file: Path, records: list[dict[str, Any]]) -> None:
    """Write results as one list."""
    write_output(file, (json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
