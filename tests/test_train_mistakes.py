"""A mistake of the user is one line that says what is wrong, exit status 2, and no run folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launching import Place, train


def remove_dev(data: Path) -> None:
    """A data folder without its development text."""
    (data / "dev.txt").unlink()


def break_encoding(data: Path) -> None:
    """A training text whose second line is not UTF-8."""
    (data / "train.txt").write_bytes(b"One line.\nCaf\xe9.\n")


def empty_train(data: Path) -> None:
    """A training text without a document."""
    (data / "train.txt").write_bytes(b"")


def empty_dev(data: Path) -> None:
    """A development text of empty lines."""
    (data / "dev.txt").write_bytes(b"\n\n")


def nothing(data: Path) -> None:
    """The data as they are."""


MISTAKES: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "no dev.txt": (remove_dev, [], "it has no dev.txt or val.txt; name the dev text with --dev_file"),
    "not UTF-8": (break_encoding, [], "--encoding_errors"),
    "empty train.txt": (empty_train, [], "train.txt"),
    "empty dev.txt": (empty_dev, [], "dev.txt"),
    "no data folder": (nothing, ["-d", "/nowhere"], "--data_dir /nowhere: there is no such folder"),
    "no model folder": (nothing, ["--model", "./nowhere"], "./nowhere: there is no such folder"),
    "no config.json": (nothing, ["--model", "docs/"], "--model"),
    "wrong override": (nothing, ["--model_overrides", "hiden_size=8"], "did you mean hidden_size?"),
    "impossible shape": (nothing, ["--model_overrides", "hidden_size=33"], "--model"),
    "positions": (nothing, ["--max_length", "600"], "--max_length 600"),
    "batch": (nothing, ["-b", "7"], "--batch_size"),
    "tracker": (nothing, ["--trackers", "wandbb"], "did you mean wandb?"),
    "extra step": (nothing, ["--extra_steps", "99"], "--extra_steps 99: the run has steps 1 to 5"),
    "checkpoint": (nothing, ["--checkpoint", "/nowhere"], "--checkpoint"),
    "device": (nothing, ["--accelerator", "mps"], "--accelerator mps: no such device is found here"),
    "precision": (nothing, ["--precision", "16-mixed"], "--precision 16-mixed"),
    "folder": (nothing, ["--out_dir", "/dev/null/runs"], "--out_dir"),
    "cache": (nothing, ["--cache_dir", "/dev/null/cache"], "--cache_dir"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(place: Place, tmp_path: Path, mistake: str) -> None:
    spoil, further, told = MISTAKES[mistake]
    data = tmp_path / "data"
    shutil.copytree(place.data, data)
    spoil(data)
    result = train(place.arguments("new", "-d", str(data), "--training_goal", "5", *further), tmp_path / "output")
    assert result.status == 2, result.stderr
    assert result.last_line.startswith("error: ")
    assert told in result.last_line
    assert "Traceback" not in result.stderr
    assert not place.folder("new").root.exists()


def test_a_folder_without_weights_needs_from_scratch(place: Place, tmp_path: Path) -> None:
    arguments = [word for word in place.arguments("new") if word != "--from_scratch"]
    result = train(arguments, tmp_path)
    assert result.status == 2
    assert result.last_line == (
        "error: --model configs/models/roberta-tiny: the folder has no weights; add --from_scratch to draw new ones"
    )
    assert not place.folder("new").root.exists()


DAMAGED = ("state.ckpt", "model/model.safetensors")
REMOVED = (*DAMAGED, "model/config.json", "model/tokenizer.json")


@pytest.mark.parametrize(
    ("name", "how"), [*((name, "damaged") for name in DAMAGED), *((name, "missing") for name in REMOVED)]
)
def test_a_damaged_checkpoint_names_the_file_and_the_way_on(place: Place, tmp_path: Path, name: str, how: str) -> None:
    arguments = place.arguments("run", "--training_goal", "2000", "--max_time", "00:00:01")
    assert train(arguments, tmp_path).status == 75
    file = place.folder("run").last.resolve() / name
    file.unlink() if how == "missing" else file.write_bytes(file.read_bytes()[:1000])
    result = train(arguments, tmp_path)
    assert result.status == 2
    checkpoint = place.folder("run").last.resolve()
    assert result.last_line == (f"error: {file} is {how}; remove {checkpoint} to go on from the checkpoint before it")
    assert place.folder("run").last.exists()
