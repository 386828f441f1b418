"""The checkpoints of a run: listed, and removed for good where nothing hangs on them."""

from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from tests.runs.folders import call, done, held, names, refused, write_run

LOSSES = {10: 3.0, 20: 2.0, 30: 2.6, 40: 2.5}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path, losses=LOSSES)


def steps(run: RunFolder) -> list[int]:
    return [step for step, _ in run.whole_checkpoints()]


def test_they_are_listed_with_their_dev_loss_and_links(run: RunFolder) -> None:
    lines = done("checkpoints", run.root).splitlines()
    assert names(lines) == ["10", "20", "30", "40"]
    assert lines[2].split()[-2:] == ["2", "best"]
    assert lines[4].endswith("2.5  last")


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (["--delete", "10"], [20, 30, 40]),
        (["--delete", "30", "10"], [20, 40]),
        (["--keep", "30"], [20, 30, 40]),
        (["--keep", "10", "40"], [10, 20, 40]),
        (["--keep_newest", "1"], [20, 40]),
        (["--keep_newest", "2"], [20, 30, 40]),
        (["--keep-newest", "9"], [10, 20, 30, 40]),
        (["--keep_newest", "10"], [10, 20, 30, 40]),
    ],
    ids=str,
)
def test_what_is_named_goes_and_the_best_and_the_last_stay(run: RunFolder, flags: list[str], left: list[int]) -> None:
    done("checkpoints", run.root, *flags, "--yes")
    assert steps(run) == left
    assert (run.pointed_step("best"), run.pointed_step("last")) == (20, 40)
    assert not list(run.checkpoints.glob(".*"))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--delete", "10", "20"], "--delete 20: it is the best or the last"),
        (["--delete", "40"], "--delete 40: it is the best or the last"),
        (["--delete", "15"], "--delete 15: no checkpoint of step 15 in run 'first': it has 10, 20, 30, 40"),
        (["--keep", "10", "15"], "--keep 15: no checkpoint of step 15"),
        (["--keep", "2"], "--keep 2: no checkpoint of step 2 in run 'first': it has 10, 20, 30, 40"),
        (["--keep_newest", "0"], "--keep_newest 0: give a number of checkpoints, at least 1"),
        (["--keep_newest", "-1"], "--keep_newest -1: give a number of checkpoints, at least 1"),
        (["--keep", "10", "--keep_newest", "2"], "not allowed with argument"),
        (["--keep", "10", "--delete", "20"], "not allowed with argument"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_whole(run: RunFolder, flags: list[str], told: str) -> None:
    assert told in refused("checkpoints", run.root, *flags, "--yes")
    assert steps(run) == [10, 20, 30, 40]


def test_the_newest_stays_though_a_kill_left_the_link_behind(run: RunFolder) -> None:
    run.point("last", 10)
    assert "--delete 40: it is the best or the last" in refused("checkpoints", run.root, "--delete", "40", "--yes")


def test_it_asks(run: RunFolder) -> None:
    result = call("checkpoints", run.root, "--delete", "10", "30", answer="n\n")
    assert "Remove the checkpoints of steps 10, 30 (" in result.stderr
    assert steps(run) == [10, 20, 30, 40]


def test_a_live_run_keeps_its_checkpoints(run: RunFolder) -> None:
    with held(run):
        assert "run 'first' is live" in refused("checkpoints", run.root, "--delete", "10", "--yes")
        assert names(done("checkpoints", run.root).splitlines()) == ["10", "20", "30", "40"]
    assert steps(run) == [10, 20, 30, 40]


def test_removing_leaves_the_status_as_it_was(run: RunFolder) -> None:
    before = run.status.read_bytes()
    done("checkpoints", run.root, "--keep_newest", "1", "--yes")
    assert run.status.read_bytes() == before


def test_what_an_evaluation_still_holds_is_not_said_to_be_freed(run: RunFolder) -> None:
    assert done("checkpoints", run.root, "--delete", "10", "--yes") == "removed 1 checkpoint (8 B)\n"
    run.evals.mkdir()
    run.ledger.watch("")
    told = done("checkpoints", run.root, "--delete", "30", "--yes")
    assert told == "removed 1 checkpoint (2 B; an evaluation still holds 6 B)\n"
