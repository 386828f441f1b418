"""The file of a network's weights."""

from pathlib import Path

import torch
from safetensors.torch import load_model
from torch import nn

from dlib.models.weight_files import write_weights


def tied(count: int) -> nn.ModuleDict:
    """Layers of one weight, as many as that."""
    layers = {f"layer{number}": nn.Linear(3, 3) for number in range(count)}
    for layer in layers.values():
        layer.weight = layers["layer0"].weight
    return nn.ModuleDict(layers)


def test_the_same_weights_give_the_same_bytes_however_many_are_tied(tmp_path: Path) -> None:
    network, files = tied(8), [tmp_path / str(number) for number in range(8)]
    for file in files:
        write_weights(network, file)
    assert len({file.read_bytes() for file in files}) == 1


def test_tied_weights_are_written_once_and_come_back_tied(tmp_path: Path) -> None:
    network, other = tied(3), tied(3)
    write_weights(network, tmp_path / "file")
    load_model(other, tmp_path / "file")
    assert other["layer0"].weight is other["layer2"].weight
    assert all(map(torch.equal, network.state_dict().values(), other.state_dict().values()))
