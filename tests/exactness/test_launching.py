"""Ranks come when they come: none takes the run for something else, and none begins at another step than the first."""

import os
from pathlib import Path

from dlib.runs.metrics_log import read_metrics
from tests.exactness.faults import Fault
from tests.exactness.ranks import start_ranks
from tests.launching import Place, train

GOAL = ("--training_goal", "8", "--eval_interval", "4", "--save_interval", "3")
LATE_FIRST = (1.0, 0.0)
"""Seconds: the other rank has looked at the run's folder long before the first one mends what a kill left in it."""


def test_a_run_killed_while_it_wrote_its_first_file_goes_on_with_two_processes(place: Place, tmp_path: Path) -> None:
    folder = place.folder("run")
    fault = Fault("before replace", under=os.path.abspath(folder.root))
    assert train(place.arguments("run", *GOAL), tmp_path, fault=fault).status == -9
    assert not folder.config.exists()
    assert any(path.name.endswith(".writing") for path in folder.root.iterdir())
    with start_ranks(place.arguments("run", *GOAL), 2, tmp_path, seconds_before=LATE_FIRST) as ranks:
        results = ranks.results()
    assert [result.status for result in results] == [0, 0], ranks.stderr


def test_a_rank_that_finds_another_checkpoint_than_the_first_refuses_to_train(place: Place, tmp_path: Path) -> None:
    # As on a machine that sees the shared disk's folders of a minute ago: the newest is there for the first rank alone.
    arguments, folder = place.arguments("run", *GOAL), place.folder("run")
    with start_ranks(arguments, 1, tmp_path) as ranks:
        ranks.stop_after_steps(folder, 4)
    step, newest = folder.whole_checkpoints()[-1]
    newest.rename(newest.with_name(f".replaced-{newest.name}"))  # the holder puts it back
    before = folder.metrics.read_bytes()
    with start_ranks(arguments, 2, tmp_path, seconds_before=LATE_FIRST) as ranks:
        results = ranks.results()
    assert results[1].status == 2, ranks.stderr
    assert len(results[1].stderr.splitlines()) == 1
    assert f"checkpoints of different steps, [{step}, " in results[1].stderr
    assert folder.metrics.read_bytes() == before
    assert [record["step"] for record in read_metrics(folder.metrics)] == list(range(1, step + 1))
