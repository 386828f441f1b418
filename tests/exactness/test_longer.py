"""A run with a new goal, and one that branches from another: the bits of a run that had it from the beginning."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import assert_same_end, contents
from tests.exactness.faults import Fault
from tests.launching import Place, Result, train

STEADY = ("--schedule", "inverse_sqrt", "--save_interval", "4")
DECAYING = (
    "--schedule",
    "wsd",
    "--decay",
    "4",
    "--save_interval",
    "2",
    "--max_checkpoints",
    "-1",
    "--eval_interval",
    "3",
)


@pytest.fixture(scope="module")
def trunk(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A finished run "trunk" of 12 steps, the last 4 with a falling rate, of which every second is saved."""
    place = replace(session_place, runs=tmp_path_factory.mktemp("trunk") / "runs")
    end(run(place, "trunk", "12", *DECAYING))
    return place


def run(place: Place, name: str, goal: str, *further: str) -> Result:
    """Train a run to a goal."""
    return train(place.arguments(name, "--training_goal", goal, *further), place.runs.parent / "output")


def branch(place: Place, word: str, name: str, *further: str, fault: Fault | None = None) -> Result:
    """Train a branch of a run, of which nothing is said again."""
    words = ["--branch", word, "-n", name, "--out_dir", str(place.runs), "--trackers", "none"]
    return train([*words, *further], place.runs.parent / "output", fault=fault)


def end(result: Result) -> Result:
    """A result without an error."""
    assert result.status == 0, result.stderr
    return result


def test_a_longer_goal_goes_on_as_if_it_had_been_the_first(place: Place) -> None:
    words = (*STEADY, "--warmup", "25%")
    end(run(place, "grown", "8", *words))
    end(run(place, "grown", "12 steps", *words))
    assert "is finished" in end(run(place, "grown", "12", *words)).stderr
    end(run(place, "whole", "12", *words, "--earlier_goals", "8"))
    grown, whole = place.folder("grown"), place.folder("whole")
    assert_same_end(grown, whole)
    assert grown.checkpoint(8).is_dir(), "the model of the first goal stays"
    end(run(place, "grown", "14", *words, "--eval_interval", "5"))
    end(run(place, "whole", "14", *words))
    assert contents(grown.last) == contents(whole.last), "an evaluation changes no weights"


@pytest.mark.parametrize(
    ("first", "goal", "told"),
    [
        (
            ("12", *DECAYING),
            "14",
            "--schedule wsd depends on the goal, and step 10 would have had another learning rate",
        ),
        (
            ("77 samples", *STEADY),
            "12",
            "took what was left of the samples, and with the new goal would have taken 3 more",
        ),
    ],
    ids=["another rate", "a partial step"],
)
def test_a_goal_with_which_the_steps_would_have_been_others_is_refused(
    place: Place, first: tuple[str, ...], goal: str, told: str
) -> None:
    end(run(place, "run", *first))
    before = {path.name: path.read_bytes() for path in place.folder("run").root.glob("*.[jy]*") if path.is_file()}
    result = run(place, "run", goal, *first[1:])
    assert result.status == 2
    assert told in result.last_line
    assert "--branch run --name another goes on from there" in result.last_line
    assert before == {path.name: path.read_bytes() for path in place.folder("run").root.glob("*.[jy]*")}


def test_a_branch_before_the_decay_ends_as_the_run_that_had_its_goal(trunk: Place) -> None:
    told = end(branch(trunk, "trunk@8", "longer", "--training_goal", "16")).stderr
    assert f"run 'longer' begins at step 8 of {trunk.runs / 'trunk'}" in told
    end(run(trunk, "whole", "16", *DECAYING))
    longer, whole = trunk.folder("longer"), trunk.folder("whole")
    assert longer.metrics.read_bytes() == whole.metrics.read_bytes()
    assert contents(longer.last) == contents(whole.last)


def test_a_branch_goes_on_by_the_same_command_and_without_its_trunk(trunk: Place, tmp_path: Path) -> None:
    words = ("--training_goal", "14", "--learning_rate", "1e-3", "--schedule", "constant", "--save_interval", "1")
    end(branch(trunk, "trunk", "quiet", *words))
    killed = branch(trunk, "trunk", "stopped", *words, fault=Fault("after rename", since="step-00000013"))
    assert (killed.status, trunk.folder("stopped").whole_checkpoints()[-1][0]) == (-signal.SIGKILL, 13)
    away = trunk.folder("trunk").root.rename(tmp_path / "away")
    try:
        end(branch(trunk, "trunk", "stopped", *words))
    finally:
        away.rename(trunk.runs / "trunk")
    assert_same_end(trunk.folder("stopped"), trunk.folder("quiet"))
    assert [record["step"] for record in read_metrics(trunk.folder("quiet").metrics)] == list(range(1, 15))


@pytest.mark.parametrize(
    ("word", "further", "told"),
    [
        ("nobody", (), "--branch nobody: no run 'nobody'"),
        ("trunk@7", (), "--branch trunk@7: no such checkpoint: it has 2, 3, 4, 6, 8, 9, 10, 12; write trunk@STEP"),
        ("trunk@8", ("--seed", "2"), "--branch trunk@8: --seed was 1 there and is 2 here"),
        ("trunk@8", ("--training_goal", "8"), "step 8 is at or beyond the goal of 8; give a longer one"),
        ("trunk", (), "step 12 is at or beyond the goal of 12; give a longer one"),
    ],
)
def test_a_branch_of_nothing_or_to_nothing_is_refused(
    trunk: Place, word: str, further: tuple[str, ...], told: str
) -> None:
    result = branch(trunk, word, "refused", *further)
    assert (result.status, told in result.last_line) == (2, True), result.stderr
    assert not trunk.folder("refused").root.exists()


def test_a_name_that_is_taken_is_no_branch(trunk: Place) -> None:
    result = branch(trunk, "trunk@8", "trunk", "--training_goal", "20")
    assert (result.status, "run 'trunk' began by itself" in result.last_line) == (2, True)
