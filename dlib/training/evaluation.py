"""Evaluate a model on rows: every row once, for any number of processes and any batch size.

The batches are the same for any number of processes, which take them in turn. Each is summed in float64, and the
processes exchange what they gathered once, at the end: shards of unequal size need no filling up and cannot hang, and
the result has the same bits for any number of processes with as many threads each.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from transformers import PreTrainedModel

from dlib.args import ExperimentArgs
from dlib.objectives.objective import Batch, Evaluated, Objective


def max_tokens_of_batch(args: ExperimentArgs, batch_size: int) -> int | None:
    """Tokens of a batch in an evaluation, as many as `batch_size` rows may have; None where rows come as they stand."""
    return None if args.batch.max_tokens_per_batch is None else batch_size * args.data.max_length


def evaluate(
    model: PreTrainedModel,
    objective: Objective,
    batches: Iterable[tuple[Batch, float]],
    *,
    tokens_per_byte: float,
    row_order: np.ndarray | None = None,
) -> dict[str, float]:
    """The objective's metrics over the batches of all processes, see `gather_all`."""
    return objective.metrics(gather_all(model, objective, batches, row_order), tokens_per_byte)


@torch.no_grad()
def gather_all(
    model: PreTrainedModel,
    objective: Objective,
    batches: Iterable[tuple[Batch, float]],
    row_order: np.ndarray | None = None,
) -> Evaluated:
    """What the objective finds in the batches of all processes; this one has its share, with the weight of each batch.

    Nothing random is drawn, and the networks are left in the modes in which they were found. `row_order`: numbers of
    the rows of all processes, batch by batch, where they do not ascend.
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
    return gather(evaluated, row_order)


def gather(evaluated: Sequence[Evaluated], row_order: np.ndarray | None = None) -> Evaluated:
    """What all processes evaluated: a process without rows adds nothing.

    Each sum is the exact one, rounded once (`math.fsum`), and the items stand in the order of the rows, so that neither
    depends on who held which batch.
    """
    shares = [evaluated]
    if dist.is_available() and dist.is_initialized():
        shares = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(shares, evaluated)
    return interleave(shares, row_order)


def interleave(shares: Sequence[Sequence[Evaluated]], row_order: np.ndarray | None = None) -> Evaluated:
    """The batches of all processes, which took them in turn, as one; items in the order of the rows."""
    in_order = [batch for turn in zip_longest(*shares) for batch in turn if batch is not None]
    names = dict.fromkeys(chain.from_iterable(batch.sums for batch in in_order))
    sums = {name: math.fsum(batch.sums.get(name, 0.0) for batch in in_order) for name in names}
    items = [item for batch in in_order for item in batch.items]
    if row_order is not None and items:
        assert len(items) == len(row_order), f"{len(items)} items of {len(row_order)} rows: an objective has one a row"
        items = [items[place] for place in np.argsort(row_order)]
    return Evaluated(sums, items)
