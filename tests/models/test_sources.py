"""Where a model and a tokenizer come from, or why a folder is none that a run can start from."""

from pathlib import Path
from typing import Any

import pytest

from dlib.args import ExperimentArgs, ModelArgs, RunArgs
from dlib.models.sources import find_source
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder


def source(last_checkpoint: Path | None = None, /, **model: Any) -> str:
    return find_source(ExperimentArgs(model=ModelArgs(**model)), last_checkpoint)


def write_model(folder: Path) -> None:
    """The names that make a folder a model's."""
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).touch()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder."""
    write_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with two checkpoints."""
    run = RunFolder(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    for step in (1, 2):
        run.publish_checkpoint(step, lambda place: write_model(place / "model"))
        run.point("last", step)
    return run


def test_checkpoint_comes_before_the_model(folder: Path, run: RunFolder, tmp_path: Path) -> None:
    assert source(model="roberta-base") == "roberta-base"
    for place, expected in (
        (folder, folder),
        (run.checkpoint(1), run.checkpoint(1) / "model"),
        (run.root, run.last / "model"),
    ):
        assert source(checkpoint=str(place)) == str(expected)
    run.point("best", 1)
    assert Path(source(checkpoint=str(run.root))).resolve() == run.checkpoint(1).resolve() / "model"
    with pytest.raises(UserError, match=r"^--checkpoint .*nowhere: there is no such folder, and no run"):
        source(checkpoint=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no run of that name in runs: see runs\.py list$"):
        source(checkpoint="runs/nowhere")


def test_checkpoint_may_be_the_name_of_a_run(run: RunFolder) -> None:
    run.config.write_text("")
    args = ExperimentArgs(model=ModelArgs(checkpoint=run.name), run=RunArgs(out_dir=str(run.root.parent)))
    assert find_source(args) == str(run.last / "model")


def test_a_run_goes_on_from_its_own_checkpoint_whatever_it_started_from(tmp_path: Path) -> None:
    own = tmp_path / "own" / "step-00000001"
    for gone in ({"model": "./gone"}, {"checkpoint": "./gone"}, {"tokenizer": "./gone"}):
        assert source(own, **gone) == str(own / "model")


@pytest.mark.parametrize("flag", ["model", "tokenizer"])
def test_a_path_to_nowhere_is_told(flag: str) -> None:
    for name in ("./nowhere", "/nowhere", "a/b/c"):
        with pytest.raises(UserError, match=f"^--{flag} {name}: there is no such folder$"):
            source(**{flag: name})


def test_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--model .* has no config\.json"):
        source(model=str(tmp_path))


def test_run_or_checkpoint_in_place_of_a_model_is_told(run: RunFolder) -> None:
    for place in (run.root, run.checkpoint(1)):
        with pytest.raises(UserError, match=rf"--model {place} is a run or a checkpoint: give it with --checkpoint"):
            source(model=str(place))


@pytest.mark.parametrize("left", [(), ("training_args.bin",)], ids=str)
def test_a_folder_without_weights_needs_from_scratch(folder: Path, left: tuple[str, ...]) -> None:
    (folder / "model.safetensors").unlink()
    for name in left:
        (folder / name).touch()
    with pytest.raises(UserError, match=r"--model .* has no weights; add --from_scratch"):
        source(model=str(folder))
    with pytest.raises(UserError, match=r"--checkpoint .* has no weights; give another"):
        source(checkpoint=str(folder))
    assert source(model=str(folder), from_scratch=True) == str(folder)


def test_a_folder_without_a_tokenizer_is_told(folder: Path, tmp_path: Path) -> None:
    assert source(model=str(folder), tokenizer=str(folder)) == str(folder)
    with pytest.raises(UserError, match=r"--tokenizer .*: the folder has no tokenizer"):
        source(model=str(folder), tokenizer=str(tmp_path))
