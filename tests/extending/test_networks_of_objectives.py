"""Networks of the objectives of docs/extending.md: on several processes, averaged, started from, and other teachers."""

import signal
from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import differences
from tests.exactness.faults import Fault
from tests.exactness.ranks import start_ranks
from tests.extending.test_examples import SECTIONS, TRIALS, arguments_of, from_scratch, run_of
from tests.launching import Place, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("served")]


def arguments(title: str, place: Place, name: str, *further: str) -> list[str]:
    """The words that train a section's example."""
    return arguments_of(from_scratch(SECTIONS[title])[-1], place, name, [*TRIALS[title].further, *further])


def run(words: list[str], place: Place, scratch: Path) -> RunFolder:
    """Trains to the end."""
    result = train(words, scratch)
    assert result.status == 0, result.stderr
    return place.folder(run_of(words))


def test_a_second_head_learns_the_same_on_one_and_two_processes_with_exact_sums(place: Place, tmp_path: Path) -> None:
    one = run(arguments("A second head", place, "one", "--exact_reduce"), place, tmp_path)
    with start_ranks(arguments("A second head", place, "two", "--exact_reduce"), 2, tmp_path) as ranks:
        assert [result.status for result in ranks.results()] == [0, 0], ranks.stderr
    assert differences(place.folder("two"), one) == []


def test_a_killed_run_with_an_average_ends_as_the_undisturbed_one(place: Place, tmp_path: Path) -> None:
    further = ("--ema_decay", "0.9", "--layer_decay", "0.8")
    undisturbed = run(arguments("A second head", place, "undisturbed", *further), place, tmp_path)
    words = arguments("A second head", place, "killed", *further)
    assert train(words, tmp_path, fault=Fault("inside state", 2, str(place.runs))).status == -signal.SIGKILL
    assert differences(run(words, place, tmp_path), undisturbed) == []


def test_a_run_from_a_checkpoint_of_the_same_objective_takes_its_second_head(place: Place, tmp_path: Path) -> None:
    first = run(arguments("A second head", place, "first"), place, tmp_path)
    words = [word for word in arguments("A second head", place, "again") if word != "--from_scratch"]
    still = ("--learning_rate", "0", "--training_goal", "1", "--checkpoint", str(first.root))
    again = run([*words, *still], place, tmp_path)
    best = next(record for record in read_metrics(first.metrics) if record["step"] == first.pointed_step("best"))
    assert read_metrics(again.metrics)[0]["dev/second_loss"] == best["dev/second_loss"]


def test_another_teacher_in_the_middle_of_a_run_is_refused(place: Place, tmp_path: Path) -> None:
    title = "Distillation"
    teacher = run(
        arguments_of(from_scratch(SECTIONS[title])[0], place, "teacher", TRIALS[title].further), place, tmp_path
    )
    words = arguments(title, place, "student")
    assert train(words, tmp_path, fault=Fault("inside weights", 2, str(place.runs))).status == -signal.SIGKILL
    steps = [step for step, _ in teacher.whole_checkpoints()]
    teacher.point("best", next(step for step in steps if step != teacher.pointed_step("best")))
    result = train(words, tmp_path)
    assert result.status == 2
    assert "run 'student' began with other weights of the teacher; choose another --name" in result.stderr
