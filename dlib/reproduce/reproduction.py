"""Does a run still give the same numbers? It is repeated from its record, and compared while it goes.

    record.json --code_copy--> the code --repetition--> metrics.jsonl --comparison--> identical, or the first difference

The repetition is stopped as soon as the answer is known.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlib.process.errors import UserError, ended_by_signals
from dlib.process.ranks import logger, say
from dlib.reproduce.code_copy import recorded_code
from dlib.reproduce.repetition import Repetition, command_flags, numeric_environment, read_records, repeating, runs_in
from dlib.runs import comparison
from dlib.runs.comparison import Difference, NumbersComparison
from dlib.runs.folder import RunFolder
from dlib.runs.git_commands import top_folder
from dlib.runs.record import read_record

POLL_SECONDS = 0.1
PROGRESS_SECONDS = 10.0
SAME_STATUS, DIFFERENT_STATUS = 0, 1


@dataclass(frozen=True)
class Request:
    """What is to be repeated, and how."""

    run: Path  # folder of the run
    steps: int | None = None  # compare up to this optimizer step; None: all that the run recorded
    data_dir: Path | None = None  # folder of the texts, where it is no longer the recorded one
    present_code: bool = False  # run the code that stands here, in place of the recorded
    keep: Path | None = None  # folder that the repetition's run folder stays in; None: it is removed
    trust_remote_code: bool = False  # whether Python code that the model's folder brings may run


def reproduce(request: Request, project: Path) -> int:
    """Repeat a run; print what changed since its record, then whether the numbers did.

    Returns:
        The exit status: 0 when all numbers are the same, 1 when one differs.

    Raises:
        UserError: the run cannot be repeated, or the repetition fails.
    """
    run, record = open_run(request.run)
    if request.steps is not None and request.steps < 1:
        raise UserError(f"--steps {request.steps}: give at least 1")
    expected = comparison.records_up_to(read_records(run.metrics)[0], request.steps)
    if not expected:
        raise UserError(f"run '{run.name}' recorded no optimizer step: there is nothing to compare")
    newest = expected[-1]["step"]
    if request.steps is not None and request.steps > newest:
        raise UserError(f"--steps {request.steps}: run '{run.name}' recorded {newest} steps; give {newest} or less")
    if record.get("from_step") and not record.get("branch"):
        logger().warning("record.json was lost, and written anew after step %d: see what changed", record["from_step"])
    moved = any("eval_interval" in session for session in record["sessions"])
    with ended_by_signals(), _started(request, run, record, project.resolve()) as repetition:
        reproduction = Reproduction(run, record, repetition, NumbersComparison(expected, moved))
        difference = reproduction.follow()
        print(difference or reproduction.agreement(request.steps), flush=True)
    return SAME_STATUS if difference is None else DIFFERENT_STATUS


def open_run(path: Path) -> tuple[RunFolder, dict[str, Any]]:
    """A run's folder and its record; refuses what is no run."""
    if not path.is_dir():
        raise UserError(f"no folder '{path}': give the folder of a run, such as runs/first")
    run = RunFolder(path.resolve())
    if not run.config.exists() and not run.record.exists():
        raise UserError(f"'{path}' is no run: give the folder of one, such as runs/first")
    record = read_record(run)
    if record is None or not run.config.is_file():
        raise UserError(f"'{path}' cannot be repeated: its record.json or config.yml is missing or damaged")
    return run, record


@dataclass
class Reproduction:
    """Follows a repetition of `run`, whose metrics are in `numbers`, until the answer is known."""

    run: RunFolder
    record: Mapping[str, Any]
    repetition: Repetition
    numbers: NumbersComparison

    def __post_init__(self) -> None:
        """Remember how far it goes."""
        self._goal = self.numbers.waiting[-1]["step"]
        self._next_progress = time.monotonic() + PROGRESS_SECONDS
        self._checkpoints: list[int] = []
        self._told = False

    def follow(self) -> Difference | None:
        """Compare while the repetition runs, up to the first difference or to the last record of the run."""
        while True:
            has_ended = self.repetition.status is not None  # asked first: what it wrote last is read below
            difference = self._compare()
            if difference:
                return difference
            if not self.numbers.waiting:
                self.repetition.stop()  # not killed: the checkpoint of the last step may be on its way
                return self._compare_checkpoints()
            if has_ended:
                self.repetition.refuse_failure()
                return Difference(self.numbers.waiting[0]["step"], "the repetition ended before, the run did not")
            self._tell_progress()
            time.sleep(POLL_SECONDS)

    def agreement(self, steps: int | None) -> str:
        """The answer that nothing differs, and how much was compared, of the `steps` that were asked for."""
        done, status = self.numbers.compared_step, self.run.read_status()
        text = f"identical for {done} step{'s' * (done > 1)}"
        if self._checkpoints:
            s = "s" * (len(self._checkpoints) > 1)
            text += f", with the checkpoint{s} of step{s} {comparison.shortened(list(map(str, self._checkpoints)))}"
        is_finished = status is not None and status.state == "finished"
        if steps is None and not is_finished:
            text += ": the run recorded no more"
        if self.numbers.new_names:
            text += f"; recorded here alone: {', '.join(sorted(self.numbers.new_names))}"
        return text

    def _compare(self) -> Difference | None:
        """Compare what the repetition wrote since the last time; a step's numbers before its checkpoint."""
        records = self.repetition.new_records()
        if (records or self.repetition.status is not None) and not self._told:
            self._tell_changes()
        differences = (self.numbers.take(record) for record in records)
        return next(filter(None, differences), None) or self._compare_checkpoints()

    def _tell_progress(self) -> None:
        """Say now and then how far it is."""
        if self.numbers.compared_step and time.monotonic() > self._next_progress:
            self._next_progress = time.monotonic() + PROGRESS_SECONDS
            say(f"step {self.numbers.compared_step} of {self._goal}: the same so far")

    def _tell_changes(self) -> None:
        """Print what changed since the record, and what changed within the run."""
        self._told = True
        record = read_record(self.repetition.folder)
        if record is not None:
            lines = comparison.describe_changes(self.repetition.folder, self.run, (record, self.record))
            print(*lines, *comparison.later_changes(self.record), sep="\n", flush=True)

    def _compare_checkpoints(self) -> Difference | None:
        """Compare each checkpoint that both sides have, once, up to the step whose numbers were compared."""
        for step, here in self.repetition.folder.whole_checkpoints():
            there = self.run.checkpoint(step)
            if step in self._checkpoints or step > self.numbers.compared_step or not there.is_dir():
                continue
            with suppress(FileNotFoundError):  # an old one is removed when a new one is whole
                name = comparison.differing_file(here, there)
                if here.is_dir() and there.is_dir():
                    if name:
                        return Difference(step, f"{name} of the checkpoint")
                    self._checkpoints.append(step)
        return None


@contextmanager
def _started(request: Request, run: RunFolder, record: Mapping[str, Any], project: Path) -> Iterator[Repetition]:
    """The running repetition; of its files only those under `--keep` stay."""
    top = top_folder(project) or project
    with (
        tempfile.TemporaryDirectory(prefix="dlib-reproduce-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        scratch = Path(name).resolve()
        tree = top
        if not request.present_code:
            tree = stack.enter_context(recorded_code(run, record, top, scratch / "code"))
        out_dir = _make_out_dir(request, run, scratch)
        folder = runs_in(record, tree)
        flags = command_flags(run, record, folder, top, request.data_dir)
        flags += ["--trust_remote_code"] * request.trust_remote_code
        script = tree / project.relative_to(top) / "train.py"
        say(f"repeating run '{run.name}' with {'the present' if request.present_code else 'its recorded'} code")
        environment, stderr = numeric_environment(record), scratch / "stderr"
        yield stack.enter_context(repeating(run, script, flags, folder, environment, out_dir, stderr))


def _make_out_dir(request: Request, run: RunFolder, scratch: Path) -> Path:
    out_dir = scratch / "runs" if request.keep is None else request.keep.resolve()
    if (out_dir / run.name).exists():
        raise UserError(f"--keep {request.keep}: there is a '{run.name}' in it already; name another folder")
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--keep {request.keep}: no folder can be made there: {error.strerror}") from error
    return out_dir
