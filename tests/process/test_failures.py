"""A run of several processes that fails says why in its log: who failed first, and not what the others met then."""

from pathlib import Path

import pytest

from dlib.process.errors import UserError
from dlib.process.failures import Failure, first_failure, left_for_first
from dlib.runs.folder import RunFolder
from tests.callbacks.extended import extend_train
from tests.exactness.ranks import start_ranks
from tests.launching import ROOT, Place, Result, start_warm

FAILING = '''
from dlib.callbacks.step_callback import StepCallback


class Failing(StepCallback):
    """One process does not get through the third step."""

    def after_step(self, trainer, module):
        if module.steps_done == 3 and trainer.global_rank == {rank}:
            raise ValueError("no more of this")
'''


def fail(folder: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), left_for_first(folder):
        raise error


def test_the_first_failure_is_told_and_half_written_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".failures"
    assert first_failure(folder) is None
    for rank, error in (("3", ValueError("it\nbroke")), ("2", UserError("--flag: wrong")), ("1", SystemExit(1))):
        monkeypatch.setenv("RANK", rank)
        fail(folder, error)
    (folder / "rank-9.json").write_text('{"rank": 9')
    first = first_failure(folder)
    assert isinstance(first, Failure)
    assert str(first) == "rank 3 of the run failed: ValueError: it broke"
    assert "raise error\nValueError: it\nbroke" in first.traceback
    (folder / "rank-3.json").unlink()
    second = first_failure(folder)
    assert isinstance(second, Failure)
    assert (str(second), second.traceback) == ("rank 2 of the run failed: --flag: wrong", "")


def test_where_nothing_can_be_left_the_error_itself_is_raised(tmp_path: Path) -> None:
    fail(tmp_path / "none" / ".failures", ValueError("mine"))


def assert_told(folder: RunFolder, rank: int, result: Result) -> None:
    told = f"rank {rank} of the run failed: ValueError: no more of this"
    log = folder.log.read_text()
    assert result.status == 1, result.stderr
    assert (log.count("Traceback"), log.count("closed by peer")) == (1, 0), log
    assert f"rank {rank} of the run, on " in log
    assert log.splitlines()[-1].endswith(f"ERROR {told}"), log
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.reason) == ("failed", told)
    assert result.last_line == ("ValueError: no more of this", f"error: {told}")[rank]
    assert not folder.failures.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_the_log_ends_with_the_rank_that_failed_first_and_its_cause(rank: int, place: Place, tmp_path: Path) -> None:
    program = extend_train(tmp_path, FAILING.format(rank=rank), "Failing()")
    with start_ranks(place.arguments("run", "--training_goal", "8"), 2, tmp_path, program=program) as ranks:
        assert_told(place.folder("run"), rank, ranks.results()[0])


def test_the_log_has_the_traceback_of_a_process_that_the_first_has_started(place: Place, tmp_path: Path) -> None:
    program = Path(extend_train(tmp_path, FAILING.format(rank=1), "Failing()"))
    program.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{program.read_text()}")
    arguments = place.arguments("run", "--training_goal", "8", "--num_devices", "2")
    with start_warm(arguments, tmp_path, program=str(program)) as training:
        assert_told(place.folder("run"), 1, training.result())
