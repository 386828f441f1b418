"""A run that an older version began goes on with this one, and ends with the same bytes.

`old_run/` holds what commit 9b3c5a3 wrote into a run's folder, but for weights, and for hashes that versions of the
libraries decide: no key of theirs may be needed that came later.
"""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.training.checkpoints import read_training_state
from tests.exactness.comparing import assert_same_end
from tests.launching import Place, start_warm, train
from tests.runs.folders import done

FILES = Path(__file__).parent / "old_run"
FLAGS = [
    *("--whole_word_masking", "--warmup", "25%", "--precision", "32-true"),
    *("--training_goal", "60", "--eval_interval", "10", "--save_interval", "20"),
    *("--eval_batch_size", "2"),  # as the old one: sums of other batches may have other last bits
]
STATE_KEYS = ("steps_done", "optimizer", "precision", "weights_crc32")


def make_old(run: RunFolder, place: Place) -> None:
    """Put an old run's files in the place of this version's, about the same run."""
    config = (FILES / "config.yml").read_text()
    for word, folder in (("RUNS", place.runs), ("DATA", place.data), ("CACHE", place.cache)):
        config = config.replace(word, str(folder))
    run.config.write_text(config)
    hashes = json.loads(run.record.read_text())["hashes"]
    run.record.write_text(json.dumps(json.loads((FILES / "record.json").read_text()) | {"hashes": hashes}))
    run.status.write_text((FILES / "status.json").read_text())
    for step, path in run.whole_checkpoints():
        state = read_training_state(path)
        assert state["steps_done"] == step
        torch.save({key: state[key] for key in STATE_KEYS}, CheckpointFolder(path).state)


@pytest.fixture(scope="module")
def runs_of_both(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """The run done whole by this version, and begun by the old one."""
    scratch, folders = tmp_path_factory.mktemp("output"), tmp_path_factory.mktemp("runs")
    whole, halves = (replace(session_place, runs=folders / name) for name in ("whole", "halves"))
    assert train(whole.arguments("old", *FLAGS), scratch).status == 0
    run = halves.folder("old")
    with start_warm(halves.arguments("old", *FLAGS), scratch) as training:
        training.wait_for_steps(run, 15)
        training.signal_group(signal.SIGTERM)
        assert training.result().status == 75
    make_old(run, halves)
    assert "preempted" in done("list", "--out_dir", halves.runs)
    result = train(["--resume", str(run.root)], scratch)
    assert result.status == 0, result.stderr
    return whole.folder("old"), run


def test_an_old_run_goes_on_to_the_same_end(runs_of_both: tuple[RunFolder, RunFolder]) -> None:
    whole, run = runs_of_both
    assert_same_end(run, whole)


def test_an_old_runs_model_is_exported_with_the_card_of_its_objective(
    runs_of_both: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    done("export", runs_of_both[1].root, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "pipeline_tag: fill-mask" in card
    assert "A masked language model (`RobertaForMaskedLM`), after 60 of 60" in card
    assert "AutoModelForMaskedLM.from_pretrained" in card
