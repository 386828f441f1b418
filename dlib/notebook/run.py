"""A run as an object: its arguments, numbers, texts and model, each read when it is first asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlib.args import ExperimentArgs
from dlib.config.configuration import load_config
from dlib.models.names import find_path
from dlib.notebook.chosen_rows import ChosenRows
from dlib.process.errors import UserError
from dlib.process.messages import quiet_libraries
from dlib.process.packages import import_optional
from dlib.process.threads import let_threads_sleep
from dlib.runs.finding import find_checkpoint, resolve_model_folder
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from dlib.runs.status import Status

if TYPE_CHECKING:
    from pandas import DataFrame
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from dlib.data.packing import Rows
    from dlib.data.token_store import TokenStore
    from dlib.generation.predictor import Predictor
    from dlib.measuring.checkpoint_evaluation import CheckpointEvaluation
    from dlib.objectives.objective import Objective


def load_run(
    name: str | Path,
    *,
    data_dir: str | Path | None = None,
    accelerator: str = "auto",
    trust_remote_code: bool = False,
) -> "Run":
    """A run, by its folder, its name in `runs`, or one of its checkpoints; the best, else the last, if none is named.

    Args:
        name: which.
        data_dir: where its texts are now; None: where they were in training, seen from the present folder.
        accelerator: where its model computes: auto, cpu, cuda or mps.
        trust_remote_code: whether Python code that the model's folder brings may run.

    Raises:
        UserError: there is no such run.
    """
    quiet_libraries()
    let_threads_sleep()
    path = find_path(name)
    found = find_checkpoint(path) if path else None
    folder = found[0] if found else RunFolder((path or Path(name)).absolute())
    if path is None or not folder.config.is_file():
        raise UserError(f"{name}: it is no run; give its folder, its name in runs/, or one of its checkpoints")
    return Run(folder, path.absolute(), data_dir, accelerator, trust_remote_code)


@dataclass(frozen=True, eq=False)
class Run:
    """A run that was trained, or trains still. What it reads of the model, it reads once."""

    folder: RunFolder  # its files, by name
    path: Path  # the run, or the checkpoint whose model is taken
    data_dir: str | Path | None
    accelerator: str
    trust_remote_code: bool
    _texts: "dict[str, tuple[Rows, TokenStore]]" = field(default_factory=dict, repr=False)  # by split

    @cached_property
    def args(self) -> ExperimentArgs:
        """All its arguments, as `config.yml` has them."""
        return load_config([self.folder.config])

    @property
    def status(self) -> Status | None:
        """Where it stands now: `state`, `step`, `total_steps`; None before it has begun."""
        return self.folder.read_status()

    @property
    def metrics(self) -> "DataFrame":
        """What it computed up to now: a row a logged step, a column a metric, NaN where a step has none.

        Raises:
            UserError: pandas is not installed.
        """
        return as_frame(self.folder.metrics)

    @property
    def performance(self) -> "DataFrame":
        """What the machine did, likewise."""
        return as_frame(self.folder.performance)

    @property
    def model(self) -> "PreTrainedModel":
        """The checkpoint's model, in evaluation mode, on its device."""
        return self._loaded.model

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The model's tokenizer."""
        return self._loaded.tokenizer

    @property
    def objective(self) -> "Objective":
        """What it was trained to do: `collate` makes a batch of samples, `loss_sum` a loss of the batch."""
        return self._loaded.objective

    def rows(self, split: str = "dev") -> "Rows":
        """The rows of a text of its data folder, as an evaluation reads them; `len`, `sample(number)`.

        Args:
            split: dev, train, a name of `--dev` or `--train`, or NAME for NAME.txt, NAME.jsonl and so on.

        Raises:
            UserError: the text cannot be read.
        """
        return self._read(split)[0]

    def evaluate(self, split: str = "dev", rows: Sequence[int] | None = None) -> dict[str, float]:
        """The metrics of a text, as the training had them bit by bit, or of some of its rows, by their numbers.

        Raises:
            UserError: the text cannot be read, or has no such row.
        """
        all_rows, store = self._read(split)
        if rows is None:
            return self._loaded.evaluate(self.objective, all_rows, store)
        if not rows or min(rows) < 0 or max(rows) >= len(all_rows):
            raise UserError(f"rows: {split} has those from 0 to {len(all_rows) - 1}; give at least one of them")
        return self._loaded.evaluate(self.objective, ChosenRows(all_rows, rows), store)

    def predictor(self, **options: Any) -> "Predictor":
        """The model as `generate.py` asks it; the options are its flags (`GenerationArgs`).

        Raises:
            UserError: the objective answers no lines, or not with these options.
        """
        from dlib.args.generation import GenerationArgs
        from dlib.generation.predictor import Predictor

        own = {"accelerator": self.accelerator, "trust_remote_code": self.trust_remote_code}
        return Predictor(self.path, GenerationArgs(**{**own, **options}))

    @cached_property
    def _loaded(self) -> "CheckpointEvaluation":
        # Here and not above: it takes seconds to import, and arguments and metrics do without.
        from dlib.measuring.checkpoint_evaluation import CheckpointEvaluation
        from dlib.measuring.flags import parse_order
        from dlib.measuring.processes import Processes
        from dlib.measuring.subjects import Evaluation, Subject, args_to_evaluate
        from dlib.training.devices import find_devices

        changes: dict[str, Any] = {"hardware.accelerator": self.accelerator, "hardware.num_devices": 1}
        changes |= {"model.trust_remote_code": self.trust_remote_code}
        changes |= {"data.data_dir": str(self.data_dir)} if self.data_dir else {}
        args = args_to_evaluate(self.folder, self.args.objective.objective, changes)
        evaluation = Evaluation(args, parse_order([str(self.path)]), None, {}, "")
        subject = Subject(self.folder.name, str(resolve_model_folder(self.path)), evaluation, self.folder)
        return CheckpointEvaluation(subject, Processes(find_devices(args.hardware)))

    def _read(self, split: str) -> "tuple[Rows, TokenStore]":
        if split not in self._texts:
            from dlib.data.finding import find_split

            self._texts[split] = self._loaded.read(find_split(self._loaded.args.data, split), split)
        return self._texts[split]


def as_frame(path: Path) -> "DataFrame":
    """The records of a file of numbers, by step; raises as `Run.metrics`."""
    frame = import_optional("pandas", "a table of metrics").DataFrame(read_metrics(path))
    return frame.set_index("step") if len(frame) else frame
