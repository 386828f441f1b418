"""What a model cannot hold: rows longer than its positions, weights larger than the memory, layers without end.

It stands apart from the building of models because all of it is known before any weight is drawn.
"""

import copy
import os
from collections.abc import Callable

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from dlib.data.packing import PADDING_MULTIPLE
from dlib.process.errors import UserError
from dlib.process.ranks import say

MANY_LAYERS = 1000
"""More than any model has that is used; building so many takes minutes."""
BYTES_PER_WEIGHT = 4
"""Weights are drawn and loaded in float32, in the memory of the machine."""


def max_positions(model: PreTrainedModel) -> int | None:
    """Number of tokens that the model has positions for, None where there is no limit.

    RoBERTa and its kin number positions from the padding id + 1, so some of their table is never used.
    """
    table = position_table(model)
    if table is None:
        return getattr(model.config, "max_position_embeddings", None)
    return table.num_embeddings - first_position(table)


def position_table(model: PreTrainedModel) -> nn.Embedding | None:
    """The table of its positions, if it has one."""
    tables = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Embedding))
    return next((module for name, module in tables if name.endswith("position_embeddings")), None)


def first_position(table: nn.Embedding | None) -> int:
    """Position of a text's first token."""
    return 0 if table is None or table.padding_idx is None else table.padding_idx + 1


def check_positions(model: PreTrainedModel, max_length: int, source: str) -> None:
    """Refuse rows that are longer than the model's positions, once padded."""
    limit = max_positions(model)
    if limit is None:
        return
    room = limit // PADDING_MULTIPLE * PADDING_MULTIPLE
    if room == 0:
        raise UserError(
            f"{source} has {limit} positions, and rows are padded to {PADDING_MULTIPLE}; choose another model"
        )
    if max_length > room:
        raise UserError(f"--max_length {max_length}: {source} has {limit} positions; use --max_length {room} or less")


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Number of all weights and of those that learn."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def refuse_too_large(num_parameters: int, source: str) -> None:
    """Refuse a model whose weights alone are larger than this machine's memory, in which they are made."""
    needed, there = num_parameters * BYTES_PER_WEIGHT, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise UserError(
            f"{source}: its {num_parameters:,} weights need {needed / 1e9:,.0f} GB, and this machine has "
            f"{there / 1e9:,.0f} GB; choose a smaller model"
        )


def tell_many_layers(
    config: PretrainedConfig, source: str, draw: Callable[[PretrainedConfig], PreTrainedModel]
) -> None:
    """Say that a model of very many layers takes long to build; one and two layers, drawn on no device, tell its size.

    Raises:
        UserError: its weights are larger than the memory.
    """
    layers = getattr(config, "num_hidden_layers", None)
    if type(layers) is not int or layers <= MANY_LAYERS:
        return
    sizes = []
    for count in (1, 2):
        small = copy.deepcopy(config)
        small.num_hidden_layers = count
        sizes.append(count_parameters(draw(small))[0])
    num_parameters = sizes[0] + (layers - 1) * (sizes[1] - sizes[0])
    refuse_too_large(num_parameters, f"{source} with {layers:,} layers")
    say(f"Building a model of {layers:,} layers and {num_parameters:,} weights; this takes its time")


def refuse_broken_weights(model: PreTrainedModel, source: str) -> None:
    """Refuse weights that are no numbers: whatever such a model says means nothing."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise UserError(f"{source}: its weights {name} are NaN or infinite; take an earlier checkpoint")
