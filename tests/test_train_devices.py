"""Two processes compute what one does: the same losses, the same stops, the same run folder."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.exactness.ranks import assert_equal_within_float_tolerance
from tests.launching import Place, recorded_steps, start, train

TWO = ("--num_devices", "2", "--num_workers", "1")
# Dropout is on; 4 micro-batches a step; the last step has 1 sample, so that the second process has none.
PACKED = ("--training_goal", "241 samples", "--eval_interval", "10")
LINES = ("--line_by_line", "--whole_word_masking", "--max_length", "40")
KINDS = {"packed": PACKED, "line_by_line": (*PACKED, *LINES)}


@pytest.mark.parametrize("kind", ["packed", pytest.param("line_by_line", marks=pytest.mark.slow)])
@pytest.mark.oldest
def test_two_processes_give_the_losses_of_one(place: Place, tmp_path: Path, kind: str) -> None:
    result = train(place.arguments("two", *KINDS[kind], *TWO, "--resume", "never"), tmp_path, warm=False)
    assert result.status == 0, result.stderr
    assert train(place.arguments("one", *KINDS[kind]), tmp_path).status == 0
    assert_equal_within_float_tolerance(place.folder("two"), place.folder("one"))
    assert recorded_steps(place.folder("two")) == 31
    printed = result.stderr.splitlines()
    assert len(printed) == len(set(printed)), "something was printed twice"
    assert not any(word in result.stderr for word in ("Warning", "[W", "Traceback", "GLOBAL_RANK"))


@pytest.mark.oldest
def test_ctrl_c_stops_two_processes_at_one_step_and_one_process_goes_on(place: Place, tmp_path: Path) -> None:
    goal = ("--training_goal", "100", "--eval_interval", "50")
    folder = place.folder("run")
    with start(place.arguments("run", *goal, *TWO), tmp_path) as training:
        training.wait_for_steps(folder, 3)
        training.signal_group(signal.SIGINT)
        result = training.result()
    assert result.status == 75, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("SIGINT: saving after this optimizer step") == 1
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.step) == ("preempted", recorded_steps(folder))

    assert train(place.arguments("run", *goal), tmp_path).status == 0
    whole = replace(place, runs=place.runs / "whole")
    assert train(whole.arguments("run", *goal), tmp_path).status == 0
    assert_equal_within_float_tolerance(folder, whole.folder("run"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_first_process_stops_both(place: Place, tmp_path: Path, number: signal.Signals) -> None:
    with start(place.arguments("run", "--training_goal", "500", *TWO), tmp_path) as training:
        training.wait_for_steps(place.folder("run"), 3)
        training.signal(number)
        result = training.result()
    assert result.status == 75, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_two_processes_go_on_bit_by_bit(place: Place, tmp_path: Path) -> None:
    goal = ("--training_goal", "100", "--eval_interval", "50")
    assert train(place.arguments("whole", *goal, *TWO), tmp_path, warm=False).status == 0
    with start(place.arguments("halves", *goal, *TWO), tmp_path) as training:
        training.wait_for_steps(place.folder("halves"), 3)
        training.signal_group(signal.SIGINT)
        assert training.result().status == 75
    assert train(place.arguments("halves", *goal, *TWO), tmp_path, warm=False).status == 0
    assert place.folder("halves").metrics.read_bytes() == place.folder("whole").metrics.read_bytes()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_two_processes(place: Place, tmp_path: Path) -> None:
    arguments = place.arguments("slow", "-b", "512", "--training_goal", "3", "--save_interval", "1", *TWO)
    with start(arguments, tmp_path) as training:
        training.wait_for(lambda: place.folder("slow").pointed_step("last") == 1)
        training.signal_group(signal.SIGINT)
        training.wait_for(lambda: "saving after this optimizer step" in training.stderr)
        training.signal_group(signal.SIGINT)
        result = training.result()
    assert result.status == 130, result.stderr
    assert [step for step, _ in place.folder("slow").whole_checkpoints()] == [1]
