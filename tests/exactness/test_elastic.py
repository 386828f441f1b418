"""A run goes on with more or fewer processes: the same samples, masks, dropout and normaliser, so the same losses."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import assert_same_end, contents
from tests.exactness.ranks import assert_equal_within_float_tolerance, start_ranks, train_ranks
from tests.launching import Place, Result, recorded_steps, train

# Dropout is on, a step has 4 micro-batches; the last one has 3 samples, so that of four processes two have none.
GOAL = ("--training_goal", "243 samples", "--eval_interval", "7", "--save_interval", "20")
TOTAL_STEPS = 31
STEPS_OF_A_SESSION = 4
# Processes of each session, and how many seconds late each of them comes.
CHAIN = ((0.0,), (0.5, 0.0), (0.0, 0.5, 0.0, 0.0), (0.0,))
CLM = tuple(
    "--objective clm --model configs/models/gpt2-tiny --model_overrides n_embd=32 n_layer=2 --loss_chunk 16".split()
)
KINDS = {
    "packed": (),
    "lines": ("--line_by_line", "--whole_word_masking", "--max_length", "40"),
    "buckets": ("--line_by_line", "--max_tokens_per_batch", "256", "--training_goal", "31"),
    "clm": CLM,
}
EXACT = ("--exact_reduce",)


@dataclass(frozen=True)
class Moved:
    """A run that went through one session after the other.

    Attributes:
        folder: where it is.
        stops: the step at which each session but the last was stopped.
    """

    folder: RunFolder
    stops: list[int]


def whole(place: Place, scratch: Path, world_size: int, *further: str) -> RunFolder:
    """The run in one session of `world_size` processes."""
    alone = replace(place, runs=place.runs / f"whole-{world_size}")
    results = train_ranks(alone.arguments("run", *GOAL, *further), world_size, scratch)
    assert [result.status for result in results] == [0] * world_size, results[0].stderr
    return alone.folder("run")


def chain(place: Place, scratch: Path, *further: str) -> Moved:
    """The run in a session for each number of processes, all but the last stopped after some steps."""
    folder = place.folder("run")
    arguments = place.arguments("run", *GOAL, *further)
    stops: list[int] = []
    for seconds in CHAIN[:-1]:
        with start_ranks(arguments, len(seconds), scratch, seconds_before=seconds) as ranks:
            results = ranks.stop_after_steps(folder, STEPS_OF_A_SESSION)
        assert [result.status for result in results] == [75] + [0] * (len(seconds) - 1), ranks.stderr
        stops.append(recorded_steps(folder))
    results = train_ranks(arguments, len(CHAIN[-1]), scratch)
    assert [result.status for result in results] == [0] * len(CHAIN[-1]), results[0].stderr
    assert f"goes on after step {stops[-1]}\n" in results[0].stderr
    return Moved(folder, stops)


@pytest.mark.parametrize(
    "kind", ["packed", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("lines", "buckets", "clm"))]
)
def test_a_run_on_one_two_four_and_one_processes_has_the_losses_of_the_undisturbed_one(
    place: Place, tmp_path: Path, kind: str
) -> None:
    moved = chain(place, tmp_path, *KINDS[kind])
    assert sorted({*moved.stops, TOTAL_STEPS}) == [*moved.stops, TOTAL_STEPS], "each session did some steps"
    undisturbed = whole(place, tmp_path, 1, *KINDS[kind])
    assert_equal_within_float_tolerance(moved.folder, undisturbed)
    records = read_metrics(moved.folder.metrics)
    assert [record["step"] for record in records] == list(range(1, TOTAL_STEPS + 1))
    assert [record["step"] for record in records if "dev/loss" in record] == [7, 14, 21, 28, 31]


@pytest.mark.parametrize(
    "kind", ["packed", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("lines", "buckets", "clm"))]
)
@pytest.mark.oldest
def test_with_exact_reduce_one_two_and_four_processes_end_with_the_same_bytes(
    place: Place, tmp_path: Path, kind: str
) -> None:
    moved = chain(place, tmp_path, *KINDS[kind], *EXACT)
    for world_size in (1, 2, 4):
        assert_same_end(moved.folder, whole(place, tmp_path, world_size, *KINDS[kind], *EXACT))


def test_three_processes_that_were_stopped_end_with_the_same_bytes(place: Place, tmp_path: Path) -> None:
    # From three processes on, the place of a gradient in DDP's buckets decides in which order it is added up.
    further = ("-b", "6", "--model_overrides", "num_hidden_layers=2", "--training_goal", "12")
    undisturbed = whole(place, tmp_path, 3, *further)
    with start_ranks(place.arguments("run", *GOAL, *further), 3, tmp_path) as ranks:
        assert ranks.stop_after_steps(place.folder("run"), STEPS_OF_A_SESSION)[0].status == 75, ranks.stderr
    assert [result.status for result in train_ranks(place.arguments("run", *GOAL, *further), 3, tmp_path)] == [0] * 3
    assert_same_end(place.folder("run"), undisturbed)


def files(folder: Path) -> dict[str, bytes]:
    """All that is on the disk."""
    return contents(folder) if folder.exists() else {}


def assert_refused(result: Result, *words: str) -> None:
    """It ended with status 2 and one line that has these words."""
    assert result.status == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    for word in words:
        assert word in result.stderr


REFUSED = {
    "batch": (("--num_devices", "3"), ("--batch_size 8", "3 devices", "give --batch_size")),
    "micro-batch": (("--num_devices", "8"), ("--micro_batch_size 2 x 8 devices", "--micro_batch_size 1")),
    "exact": (("-b", "24", "--num_devices", "3", *EXACT), ("--exact_reduce", "3 devices")),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_batch_that_the_processes_cannot_share_is_refused_before_anything_is_written(
    place: Place, tmp_path: Path, kind: str
) -> None:
    further, words = REFUSED[kind]
    assert_refused(train(place.arguments("run", *GOAL, *further), tmp_path), *words)
    assert files(place.runs) == {}


def test_a_run_that_was_refused_three_processes_is_untouched_and_goes_on_with_two(place: Place, tmp_path: Path) -> None:
    arguments = place.arguments("run", *GOAL)
    folder = place.folder("run")
    with start_ranks(arguments, 1, tmp_path) as ranks:
        assert ranks.stop_after_steps(folder, STEPS_OF_A_SESSION)[0].status == 75
    before = files(folder.root)
    for result in train_ranks(arguments, 3, tmp_path):
        assert_refused(result, "--batch_size 8", "3 devices")
    assert files(folder.root) == before
    assert [result.status for result in train_ranks(arguments, 2, tmp_path)] == [0, 0]
    assert recorded_steps(folder) == TOTAL_STEPS
