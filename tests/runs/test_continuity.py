"""Whether a session goes on with the same run: on other hardware with a warning, with other data not at all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlib.args import ExperimentArgs
from dlib.process.errors import UserError
from dlib.runs.continuity import refuse_changes, refuse_other_data, refuse_other_weights
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import BestMetric
from dlib.runs.session import opened

HASHES = {"training text": "a", "development text": "b", "tokenizer": "c"}
WHAT = {"hashes": HASHES, "devices": {}, "best": BestMetric(), "card": {}}

ONE_GPU: dict[str, Any] = {
    "accelerator": "cuda",
    "gpus": ["A100"],
    "processes": 1,
    "threads": 8,
    "precision": "bf16-mixed",
}
TWO_GPUS = {**ONE_GPU, "gpus": ["A100", "A100"], "processes": 2}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that does not exist yet."""
    return RunFolder(tmp_path / "runs" / "wiki")


def hold(folder: RunFolder, args: ExperimentArgs | None = None, **devices: Any) -> None:
    """Begin a session and end it."""
    with opened(folder, args or ExperimentArgs(), 10, {**WHAT, "devices": devices}, Path(__file__).parent):
        pass


@pytest.mark.parametrize(
    ("devices", "exact_reduce", "said"),
    [
        (ONE_GPU, False, None),
        (TWO_GPUS, False, "gpus A100, A100 was A100, processes 2 was 1"),
        (TWO_GPUS, True, None),
        ({**TWO_GPUS, "gpus": ["H100", "H100"]}, True, "gpus H100 was A100"),
        ({**ONE_GPU, "threads": 4}, True, "threads 4 was 8"),
    ],
)
def test_who_goes_on_with_other_hardware_is_told_what_may_change_bits(
    folder: RunFolder,
    capsys: pytest.CaptureFixture[str],
    devices: dict[str, Any],
    exact_reduce: bool,
    said: str | None,
) -> None:
    args = ExperimentArgs()
    args = replace(args, hardware=replace(args.hardware, exact_reduce=exact_reduce))
    hold(folder, args, **ONE_GPU)
    hold(folder, args, **devices)
    warning = f"warning: not as at the run's beginning: {said}; from here on numbers may differ\n"
    assert capsys.readouterr().err == ("" if said is None else warning)


def test_other_arguments_are_refused_with_ways_on_that_there_are(folder: RunFolder) -> None:
    other = replace(ExperimentArgs(), optim=replace(ExperimentArgs().optim, learning_rate=0.5))
    with pytest.raises(UserError, match=r"now 0\.5; .*; it has saved nothing: runs\.py drop .*wiki puts it away$"):
        refuse_changes(other, ExperimentArgs(), folder)
    folder.checkpoint(10).mkdir(parents=True)
    with pytest.raises(UserError, match=r"and --branch .*wiki for its last step, --checkpoint for its weights$"):
        refuse_changes(other, ExperimentArgs(), folder)


def test_who_goes_on_with_other_code_is_told(
    folder: RunFolder, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("print(1)\n", "print(2)\n"):
        (repository / "train.py").write_text(text)
        with opened(folder, ExperimentArgs(), 10, WHAT, repository):
            pass
    warning = "not as at the run's beginning: uncommitted changes; from here on numbers may differ\n"
    assert capsys.readouterr().err == f"warning: {warning}"
    assert folder.log.read_text().endswith(f" WARNING {warning}")


def test_other_data_are_refused_by_name(folder: RunFolder) -> None:
    hold(folder)
    refuse_other_data(folder, HASHES)
    with pytest.raises(UserError, match="began with another training text; give the same again"):
        refuse_other_data(folder, {**HASHES, "training text": "d"})
    with pytest.raises(UserError, match="began with another development text and another tokenizer;"):
        refuse_other_data(folder, {**HASHES, "development text": "d", "tokenizer": "e"})


def test_other_starting_weights_are_refused_when_the_run_starts_again(folder: RunFolder) -> None:
    hold(folder)
    refuse_other_weights(folder, "f")
    hold(folder)  # killed before its first checkpoint
    refuse_other_weights(folder, "f")
    with pytest.raises(UserError, match="began with other starting weights; choose another --name"):
        refuse_other_weights(folder, "g")
