"""A damaged checkpoint is one line that names the file; the mistakes on the command line stand in bad_input/."""

from pathlib import Path

import pytest

from tests.launching import Place, train

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
