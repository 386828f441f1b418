"""What identifies weights, and what does not; and a state that is saved as before once it was read."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dlib.training.checkpoints import hash_weights, read_training_state

pytestmark = pytest.mark.oldest


def layers(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Two small layers, the same at each call; a number without dimensions is among their buffers."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)).to(dtype)


def test_the_same_weights_have_the_same_hash_wherever_they_lie_in_memory() -> None:
    model = layers()
    weight = next(model.parameters())
    weight.data = weight.data.t().contiguous().t()
    assert not weight.is_contiguous()
    assert hash_weights(model) == hash_weights(layers())


def test_another_bit_buffer_type_shape_or_name_has_another_hash() -> None:
    same, bit, buffer, shape = (layers() for _ in range(4))
    weight, reshaped = next(bit.parameters()).data, next(shape.parameters())
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    buffer.state_dict()["1.num_batches_tracked"] += 1
    reshaped.data = reshaped.data.reshape(4, 6)
    names = nn.ModuleDict(dict(zip("ab", layers(), strict=True)))
    models = [same, bit, buffer, shape, names, layers(torch.bfloat16), layers(torch.float16)]
    assert len({hash_weights(model) for model in models}) == len(models)


def test_a_state_that_was_read_is_saved_beside_new_ones_with_the_same_bytes(tmp_path: Path) -> None:
    def save(folder: Path, optimizer: dict[str, Any]) -> bytes:
        folder.mkdir()
        state = {"steps_done": 1, "optimizer": optimizer, "precision": {}, "callbacks": {"Mine": {"mean": 0.5}}}
        torch.save(state, folder / "state.ckpt")
        return (folder / "state.ckpt").read_bytes()

    betas = (0.9, 0.99)
    optimizer = {"state": {0: {"mean": torch.ones(2)}}, "param_groups": [{"betas": betas}, {"betas": betas}]}
    saved = save(tmp_path / "before", optimizer)
    assert save(tmp_path / "after", read_training_state(tmp_path / "before")["optimizer"]) == saved
