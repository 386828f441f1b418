"""Evaluate a model on rows: every row once, for any number of processes and any batch size.

The batches are the same for any number of processes, which take them in turn. Each is summed in float64, and the
processes exchange what they gathered once, at the end: shards of unequal size need no filling up and cannot hang, and
the result has the same bits for any number of processes with as many threads each.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

import torch
import torch.distributed as dist
from torch import nn
from transformers import PreTrainedModel

from dlib.objectives.objective import Batch, Evaluated, Objective


@torch.no_grad()
def evaluate(
    model: PreTrainedModel, objective: Objective, batches: Iterable[tuple[Batch, float]], *, tokens_per_byte: float
) -> dict[str, float]:
    """The objective's metrics over the batches of all processes; this one has its share, with the weight of each batch.

    Nothing random is drawn, and the networks are left in the modes in which they were found.
    """
    networks = nn.ModuleList([model, objective.modules])
    modes = [(module, module.training) for module in networks.modules()]
    networks.eval()
    evaluated = []
    for batch, weight in batches:
        on_device = {name: tensor.to(model.device, non_blocking=True) for name, tensor in batch.items()}
        found = objective.evaluate(model, on_device)
        evaluated.append(Evaluated({**found.sums, "weight": weight}, found.items))
    for module, mode in modes:
        module.training = mode
    return objective.metrics(gather(evaluated), tokens_per_byte)


def gather(evaluated: Sequence[Evaluated]) -> Evaluated:
    """What all processes evaluated: a process without rows adds nothing.

    Each sum is the exact one, rounded once (`math.fsum`), and the items stand in the order of the rows, so that neither
    depends on who held which batch.
    """
    shares = [evaluated]
    if dist.is_available() and dist.is_initialized():
        shares = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(shares, evaluated)
    return interleave(shares)


def interleave(shares: Sequence[Sequence[Evaluated]]) -> Evaluated:
    """The batches of all processes, which took them in turn, as one."""
    in_order = [batch for turn in zip_longest(*shares) for batch in turn if batch is not None]
    names = dict.fromkeys(chain.from_iterable(batch.sums for batch in in_order))
    sums = {name: math.fsum(batch.sums.get(name, 0.0) for batch in in_order) for name in names}
    return Evaluated(sums, [item for batch in in_order for item in batch.items])
