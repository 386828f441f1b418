"""A network's weights as a safetensors file whose bytes depend on the weights alone."""

from pathlib import Path

from safetensors.torch import save_file
from torch import nn


def write_weights(network: nn.Module, file: Path) -> None:
    """Write the weights and buffers of a network, those that are tied once; safetensors' `load_model` reads them.

    Its `save_model` notes what is tied in an order that differs from file to file.
    """
    state = network.state_dict(keep_vars=True)
    first_names = {id(tensor): name for name, tensor in reversed(state.items())}
    tensors = {name: state[name].detach().contiguous() for name in first_names.values()}
    save_file(tensors, file, metadata={"format": "pt"})
