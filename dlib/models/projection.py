"""The layer whose outputs are a model's logits, for those who compute them by themselves, some at a time.

Letters: B rows, T tokens a row, H hidden size.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dlib.models.parts import output_layer

_projections: "WeakKeyDictionary[PreTrainedModel, nn.Linear | None]" = WeakKeyDictionary()
LARGEST = 1000.0
"""Of the numbers that stand for logits when a model is tried: what caps logits changes them."""


def find_projection(model: PreTrainedModel, inputs: Mapping[str, Tensor | None]) -> nn.Linear | None:
    """The linear layer whose outputs are a model's logits; None where more is done to them, or nothing tells.

    A model is tried with a row when it is first asked about. Of processes that share its weights (FSDP) all have to ask
    for the first time at once, in their first forward pass, whatever they do with the answer.

    Args:
        model: in training or not.
        inputs: rows (B, T), by the name of the model's argument; None is left out.
    """
    if model not in _projections:
        row = {name: rows[:1] for name, rows in inputs.items() if rows is not None}
        try:
            layer: Any = output_layer(model) or model.get_output_embeddings()
            is_all = is_whole_projection(layer) and gives_logits(model, layer, row)
        except torch.cuda.OutOfMemoryError:  # says nothing about the model
            raise
        except Exception:  # whatever a network of one's own raises that has no such layer, or takes no such row
            is_all = False
        _projections[model] = layer if is_all else None
    return _projections[model]


def is_whole_projection(layer: nn.Module | None) -> bool:
    """Whether it is a linear layer and nothing more, such as an adapter; DeepSpeed's are cut into shards."""
    return type(layer) is nn.Linear and not hasattr(layer.weight, "ds_id")


def has_no_memory(tensor: Tensor) -> bool:
    """Whether nothing is computed of it, and only shapes are asked for."""
    return tensor.device.type == "meta"


@torch.no_grad()
def gives_logits(model: PreTrainedModel, layer: nn.Module, row: Mapping[str, Tensor]) -> bool:
    """Whether a model's logits for a row (1, T) of each input are a layer's outputs: not scaled, say.

    Other numbers stand in the outputs' place: weights that are zeros yet, or not finite, would hide what is done to
    them. A weight that does something to them, a scale that is 1 before it learns, is told by its gradient.
    """
    given: list[Tensor] = []

    def replace(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        spread = torch.linspace(-LARGEST, LARGEST, output.shape[-1], dtype=output.dtype, device=output.device)
        given.append(spread.expand_as(output))
        torch.set_grad_enabled(True)  # from here on; as it was where this function ends
        return given[-1]

    hook = layer.register_forward_hook(replace)
    try:
        with evaluating_unnoticed(model), taking_inputs(layer, places=1):
            logits: Tensor = model(**row, return_dict=True).logits
    finally:
        hook.remove()
    return len(given) == 1 and are_untouched(logits, given[0])


def are_untouched(logits: Tensor, given: Tensor) -> bool:
    """Whether logits are the numbers that were given for them (..., V), and hang on no weight."""
    if logits.requires_grad or given._version or logits.shape != given.shape:
        return False
    # Without memory there is nothing to compare. transformers 4 widens logits of half precision.
    return logits is given if has_no_memory(given) else torch.equal(logits, given.to(logits.dtype))


@contextmanager
def evaluating_unnoticed(model: PreTrainedModel) -> Iterator[None]:
    """Within it a model is in evaluation mode, and not compiled; afterwards it and all generators are as they were.

    Modes are set one by one: a network's own `train` may change its weights. What is compiled for a row alone takes as
    long as for a batch, and that for the batch would then be compiled for any number of rows.
    """
    modes = [(module, module.training) for module in model.modules()]
    compiled = [(module, vars(module).pop("forward")) for module, _ in modes if is_compiled(module)]
    states = random.getstate(), np.random.get_state()
    try:
        for module, _ in modes:
            module.training = False
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for module, forward in compiled:
            module.forward = forward
        random.setstate(states[0])
        np.random.set_state(states[1])


def is_compiled(module: nn.Module) -> bool:
    """Whether its forward pass is torch.compile's."""
    return hasattr(vars(module).get("forward"), "_torchdynamo_orig_callable")


@contextmanager
def taking_inputs(layer: nn.Module, places: int = 0) -> Iterator[list[Tensor]]:
    """Within it a layer computes nothing, or the first places alone; its inputs (..., H) are in the list."""
    taken: list[Tensor] = []

    def take(layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        taken.append(args[0])
        return (args[0][..., :places, :], *args[1:])

    hook = layer.register_forward_pre_hook(take)
    try:
        yield taken
    finally:
        hook.remove()
