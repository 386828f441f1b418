"""Evaluate a model on rows: every token once, for any number of processes and any batch size.

Each process adds up its own rows in float64, and the sums are added up once at the end, so that shards
of unequal size need no filling up and cannot hang.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from transformers import PreTrainedModel

from dlib.objectives.token_prediction import Batch, TokenPrediction


@torch.no_grad()
def evaluate(
    model: PreTrainedModel, objective: TokenPrediction, batches: Iterable[Batch], *, tokens_per_byte: float
) -> dict[str, float]:
    """The objective's metrics over the batches of all processes.

    Nothing random is drawn, and the model is left in the mode in which it was found.

    Args:
        model: on its device; not wrapped for distributed training.
        objective: what the model is measured by.
        batches: this process's share, on any device.
        tokens_per_byte: of the whole text.
    """
    was_training = model.training
    model.eval()
    sums: dict[str, float] = {}
    for batch in batches:
        on_device = {name: tensor.to(model.device, non_blocking=True) for name, tensor in batch.items()}
        for name, value in objective.evaluation_sums(model, on_device).items():
            sums[name] = sums.get(name, 0.0) + value
    model.train(was_training)
    return objective.metrics(add_over_processes(sums, objective.SUMS, model.device), tokens_per_byte)


def add_over_processes(sums: dict[str, float], names: Iterable[str], device: torch.device) -> dict[str, float]:
    """Add up each named sum over all processes, in float64; a process without rows adds nothing."""
    names = list(names)
    values = torch.tensor([sums.get(name, 0.0) for name in names], dtype=torch.float64)
    if dist.is_available() and dist.is_initialized():
        values = values.to(device)
        dist.all_reduce(values)
    return dict(zip(names, values.tolist(), strict=True))
