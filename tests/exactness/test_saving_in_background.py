"""Checkpoints that a thread writes are those of a run that saves at once, and faults end as they do there."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.exactness.comparing import differences
from tests.full_disks import small_disk
from tests.launching import Place, recorded_steps, start_warm, train

IN_BACKGROUND = "--save_in_background"
GOAL = "--training_goal 20 --eval_interval 4 --save_interval 3 --max_checkpoints -1".split()
LONG = "--training_goal 4000 --eval_interval 2000 --save_interval 10".split()
OF_OWN_NETWORKS = "--objective replaced_token_detection --model configs/models/electra-tiny".split()


@pytest.mark.parametrize(
    "kind", [pytest.param((), id="mlm"), pytest.param((*OF_OWN_NETWORKS, "--ema_decay", "0.9"), id="own-networks-ema")]
)
def test_the_bytes_are_those_of_a_run_that_saves_at_once(place: Place, tmp_path: Path, kind: tuple[str, ...]) -> None:
    for name, further in (("at-once", ()), ("background", (IN_BACKGROUND,))):
        result = train(place.arguments(name, *GOAL, *kind, *further), tmp_path)
        assert result.status == 0, result.stderr
    assert differences(place.folder("background"), place.folder("at-once")) == []


def test_a_full_disk_fails_the_run_in_one_line(place: Place, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1300k") as disk:
        place = replace(place, runs=disk / "runs")
        failed = train(place.arguments("run", *LONG, IN_BACKGROUND), tmp_path)
        folder = place.folder("run")
        status = folder.read_status()
        assert status is not None
        assert (failed.status, status.state, failed.last_line) == (1, "failed", f"error: {status.reason}")
        assert "cannot be written: No space left on device (" in failed.last_line
        assert "Traceback" not in failed.stderr
        assert not [path.name for path in folder.checkpoints.iterdir() if path.name.startswith(".")]
        assert folder.whole_checkpoints()[-1][0] == status.step > 0


def test_a_stop_saves_the_step_that_was_reached(place: Place, tmp_path: Path) -> None:
    folder = place.folder("run")
    with start_warm(place.arguments("run", *LONG, IN_BACKGROUND), tmp_path) as training:
        training.wait_for_steps(folder, 15)
        training.signal(signal.SIGTERM)
        assert training.result().status == 75
    status = folder.read_status()
    assert status is not None
    assert status.state == "preempted"
    assert status.step == recorded_steps(folder) == folder.pointed_step("last")
