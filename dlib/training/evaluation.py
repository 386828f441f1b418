"""Evaluate a model on rows: every token once, for any number of processes and any batch size.

The batches are the same for any number of processes, which take them in turn. Each is summed in float64, and the
processes exchange these sums once, at the end: shards of unequal size need no filling up and cannot hang, and the
result has the same bits for any number of processes with as many threads each.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

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
    sums: defaultdict[str, list[float]] = defaultdict(list)
    for batch in batches:
        on_device = {name: tensor.to(model.device, non_blocking=True) for name, tensor in batch.items()}
        for name, value in objective.evaluation_sums(model, on_device).items():
            sums[name].append(value)
    model.train(was_training)
    return objective.metrics(add_up(sums, objective.SUMS), tokens_per_byte)


def add_up(values: Mapping[str, list[float]], names: Iterable[str]) -> dict[str, float]:
    """Sum of each named list over all processes; a process without rows adds nothing.

    Each sum is the exact one, rounded once (`math.fsum`), so that it does not depend on who held which value.
    """
    shares: list[Mapping[str, list[float]]] = [values]
    if dist.is_available() and dist.is_initialized():
        shares = [{} for _ in range(dist.get_world_size())]
        dist.all_gather_object(shares, values)
    return {name: math.fsum(value for share in shares for value in share.get(name, ())) for name in names}
