"""A repetition is followed to an answer, whatever ends it, and the answer says how much it covers."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dlib.process.errors import UserError
from dlib.reproduce.repetition import Repetition
from dlib.reproduce.reproduction import Reproduction, Request, open_run, reproduce
from dlib.runs.comparison import NumbersComparison, records_up_to
from dlib.runs.folder import RunFolder
from tests.runs.folders import RECORD

RECORDS = [{"step": step, "loss": 5.0 - step} for step in (1, 2, 3)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that ended after its three steps."""
    folder = RunFolder(tmp_path / "runs" / "wiki")
    folder.root.mkdir(parents=True)
    folder.write_status("finished", 3, 3)
    return folder


def follow(
    run: RunFolder, ours: Sequence[dict[str, Any]], *, status: int = 0, steps: int | None = None, says: str = ""
) -> str:
    """The answer for a process that records `ours`, says something and ends with a status."""
    here = RunFolder(run.root.parent / "here")
    here.root.mkdir(exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in ours)
    script = f"import sys; open({str(here.metrics)!r}, 'w').write({lines!r}); print({says!r}, file=sys.stderr)"
    stderr = here.root / "stderr"
    with stderr.open("wb") as file:
        command = [sys.executable, "-c", f"{script}; sys.exit({status})"]
        process = subprocess.Popen(command, stderr=file, start_new_session=True)
    with process:
        numbers = NumbersComparison(records_up_to(RECORDS, steps))
        reproduction = Reproduction(run, {}, Repetition(process, here, stderr), numbers)
        return str(reproduction.follow() or reproduction.agreement(steps))


def save(folder: RunFolder, step: int, state: bytes) -> None:
    """Publish a checkpoint of a state alone."""

    def write(new: Path) -> None:
        (new / "model").mkdir()
        (new / "state.ckpt").write_bytes(state)

    folder.publish_checkpoint(step, write)


def test_all_that_is_the_same_is_identical(run: RunFolder) -> None:
    assert follow(run, RECORDS) == "identical for 3 steps"


def test_no_more_than_asked_for_is_compared(run: RunFolder) -> None:
    assert follow(run, [*RECORDS[:1], {"step": 2, "loss": 9.0}], steps=1) == "identical for 1 step"


def test_a_run_that_was_stopped_is_told(run: RunFolder) -> None:
    run.write_status("preempted", 3, 10)
    assert follow(run, RECORDS, status=75) == "identical for 3 steps: the run recorded no more"


def test_quantities_that_only_the_repetition_records_are_named(run: RunFolder) -> None:
    ours = [{**record, "norm": 1} for record in RECORDS]
    assert follow(run, ours) == "identical for 3 steps; recorded here alone: norm"


def test_a_difference_counts_more_than_a_failure_after_it(run: RunFolder) -> None:
    ours = [RECORDS[0], {"step": 2, "loss": 3.3}]
    assert follow(run, ours, status=1) == "differs at step 2: loss 3.3 here, 3.0 in the run (relative 1.0e-01)"


def test_a_repetition_with_fewer_steps_differs(run: RunFolder) -> None:
    assert follow(run, RECORDS[:2]) == "differs at step 3: the repetition ended before, the run did not"


def test_a_repetition_that_fails_is_told_with_its_last_line(run: RunFolder) -> None:
    with pytest.raises(UserError, match=r"^the repetition ended with status 2: --precision: no$"):
        follow(run, RECORDS[:2], status=2, says="step 1\nerror: --precision: no\n")


def test_checkpoints_of_the_same_step_are_compared_by_their_bytes(run: RunFolder) -> None:
    here = RunFolder(run.root.parent / "here")
    here.root.mkdir()
    for step, ours, theirs in ((2, b"a", b"a"), (3, b"a", b"b")):
        save(run, step, theirs)
        save(here, step, ours)
    assert follow(run, RECORDS, steps=2) == "identical for 2 steps, with the checkpoint of step 2"
    assert follow(run, RECORDS) == "differs at step 3: state.ckpt of the checkpoint"


def test_what_is_no_run_is_one_clear_line(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder 'nowhere': give the folder of a run, such as runs/first"):
        open_run(Path("nowhere"))
    with pytest.raises(UserError, match="wiki' is no run: give the folder of one"):
        open_run(run.root)
    run.config.write_text("")
    with pytest.raises(UserError, match=r"wiki' cannot be repeated: its record\.json or config\.yml is missing"):
        open_run(run.root)


def test_nothing_to_compare_and_no_steps_are_told(run: RunFolder) -> None:
    run.config.write_text("")
    run.record.write_text(json.dumps(RECORD))
    with pytest.raises(UserError, match="run 'wiki' recorded no optimizer step: there is nothing to compare"):
        reproduce(Request(run.root), run.root)
    with pytest.raises(UserError, match="--steps 0: give at least 1"):
        reproduce(Request(run.root, steps=0), run.root)


def test_more_steps_than_the_run_recorded_are_refused(run: RunFolder) -> None:
    run.config.write_text("")
    run.record.write_text(json.dumps(RECORD))
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    with pytest.raises(UserError, match="--steps 99999: run 'wiki' recorded 3 steps; give 3 or less"):
        reproduce(Request(run.root, steps=99_999), run.root)
