"""A run that loses its disk, its folder or its records stops with the cause; with room again it ends undisturbed.

And what it left is taken only if it belongs together: a checkpoint of another step, run or model is refused.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.runs.status import Status
from dlib.training.checkpoints import refuse_damage
from tests.exactness.comparing import assert_same_end
from tests.full_disks import give_room, small_disk
from tests.launching import Place, start_warm, train, train_undisturbed

GOAL = "--training_goal 40 --eval_interval 20 --save_interval 10 --max_checkpoints -1".split()
LONG = "--training_goal 4000 --eval_interval 2000 --save_interval 10".split()


@pytest.fixture(scope="module")
def undisturbed(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run that nothing happens to."""
    return train_undisturbed(session_place, GOAL, tmp_path_factory.mktemp("undisturbed"))


def status_of(folder: RunFolder) -> Status:
    status = folder.read_status()
    assert status is not None
    return status


def test_a_full_disk_fails_a_run_in_one_line_and_with_room_it_ends_undisturbed(
    undisturbed: RunFolder, place: Place, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "1300k") as disk:
        place = replace(place, runs=disk / "runs")
        folder = place.folder("run")
        failed = train(place.arguments("run", *GOAL), tmp_path)
        assert failed.status == 1
        assert "Traceback" not in failed.stderr
        reached, lacking = status_of(folder).step, status_of(folder).step + 10
        assert reached in (10, 20)
        told = f"{folder.checkpoint(lacking)} cannot be written: No space left on device ("
        assert failed.last_line.startswith(f"error: {told}")
        assert "free there, 0.58 MB needed); make room, then start the same command again" in failed.last_line
        assert (status_of(folder).state, f"error: {status_of(folder).reason}") == ("failed", failed.last_line)
        assert not [path.name for path in folder.checkpoints.iterdir() if path.name.startswith(".")]
        give_room(disk)
        assert train(place.arguments("run", *GOAL), tmp_path).status == 0
        assert_same_end(folder, undisturbed)


def remove_records(folder: RunFolder) -> None:
    folder.metrics.unlink()


def move_away(folder: RunFolder) -> None:
    folder.root.rename(folder.root.with_name("moved"))


def test_a_run_whose_folder_or_records_go_stops_and_makes_nothing_anew(place: Place, tmp_path: Path) -> None:
    folder, moved = place.folder("run"), place.folder("moved")
    for lose, told in (
        (remove_records, f"{folder.metrics} was removed or replaced while the run wrote to it"),
        (move_away, f"{folder.root} was moved or removed while the run trained, and nothing more was written there"),
    ):
        with start_warm(place.arguments("run", *LONG), tmp_path) as training:
            training.wait_for_steps(folder, 15, resumed=lose is move_away)
            lose(folder)
            result = training.result()
        assert result.status == 1
        assert result.last_line.startswith(f"error: {told}")
        assert "Traceback" not in result.stderr
        if lose is remove_records:
            assert (status_of(folder).state, f"error: {status_of(folder).reason}") == ("failed", result.last_line)
            assert not folder.metrics.exists()
    assert not folder.root.exists()
    assert [step for step, _ in moved.whole_checkpoints()]


def change_state(checkpoint: CheckpointFolder, change: Callable[[dict[str, object]], object]) -> None:
    state = torch.load(checkpoint.state)
    change(state)
    torch.save(state, checkpoint.state)


def take_weights_of_another_step(folder: RunFolder) -> None:
    shutil.copy(folder.checkpoint(10) / "model" / "model.safetensors", folder.checkpoint(20) / "model")


def take_state_of_another_step(folder: RunFolder) -> None:
    shutil.copy(folder.checkpoint(10) / "state.ckpt", folder.checkpoint(20))


def rename(folder: RunFolder) -> None:
    folder.checkpoint(10).rename(folder.checkpoint(30))


def empty_state(folder: RunFolder) -> None:
    torch.save({}, folder.checkpoint(20) / "state.ckpt")


def flip_bit(folder: RunFolder) -> None:
    weights = folder.checkpoint(20) / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def tear_configuration(folder: RunFolder) -> None:
    (folder.checkpoint(20) / "model" / "config.json").write_text('{"model_type":')


@pytest.mark.parametrize(
    ("contradict", "told"),
    [
        (tear_configuration, "step-00000020/model/config.json is damaged; remove "),
        (take_weights_of_another_step, "step-00000020/model is not what was saved with state.ckpt; remove "),
        (flip_bit, "step-00000020/model is not what was saved with state.ckpt; remove "),
        (take_state_of_another_step, "step-00000020/state.ckpt is of step 10; remove "),
        (rename, "step-00000030/state.ckpt is of step 10; remove "),
        (empty_state, "step-00000020/state.ckpt is no training state; remove "),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(
    undisturbed: RunFolder, tmp_path: Path, contradict: Callable[[RunFolder], None], told: str
) -> None:
    folder = RunFolder(tmp_path / "run")
    for step in (10, 20):
        shutil.copytree(undisturbed.checkpoint(step), folder.checkpoint(step))
    refuse_damage(folder.checkpoint(20))
    contradict(folder)
    with pytest.raises(UserError, match=told.replace(".", r"\.")):
        refuse_damage(folder.whole_checkpoints()[-1][1])


def test_checkpoints_of_older_versions_go_on_but_not_with_weights_of_another_model(
    undisturbed: RunFolder, place: Place, tmp_path: Path
) -> None:
    folder = place.folder("run")
    shutil.copytree(undisturbed.root, folder.root, symlinks=True)
    for step in (30, 40):
        shutil.rmtree(folder.checkpoint(step))
    folder.write_status("preempted", 20, 40)
    checkpoint = CheckpointFolder(folder.checkpoint(20))
    change_state(checkpoint, lambda state: state.pop("weights_crc32"))
    weights = checkpoint.model / "model.safetensors"
    ours = load_file(weights)
    save_file({name.replace("layer.1", "layer.7"): tensor for name, tensor in ours.items()}, weights, {"format": "pt"})
    refused = train(place.arguments("run", *GOAL), tmp_path)
    assert refused.status == 2
    assert f"{checkpoint.model} holds the weights of another model than its config.json says" in refused.last_line
    assert json.loads(folder.status.read_text())["state"] == "failed"
    save_file(ours, weights, {"format": "pt"})
    assert train(place.arguments("run", *GOAL), tmp_path).status == 0
    assert_same_end(folder, undisturbed)
