"""An evaluation dealt out to any number of processes, computed in one."""

import torch
from transformers import PreTrainedModel

from dlib.data.packing import Rows
from dlib.data.steps import EvaluationBatches
from dlib.objectives.objective import Evaluated, Objective
from dlib.training.evaluation import interleave


@torch.no_grad()
def evaluated_by(
    world_size: int, objective: Objective, model: PreTrainedModel, rows: Rows, batch_size: int = 4
) -> dict[str, float]:
    """The metrics of rows that so many processes evaluate, each its share."""

    def share(rank: int) -> list[Evaluated]:
        batches = EvaluationBatches(rows, objective, batch_size, rank, world_size)
        found = []
        for batch, weight in (batches[index] for index in range(len(batches))):
            own = objective.evaluate(model, batch)
            found.append(Evaluated({**own.sums, "weight": weight}, own.items))
        return found

    return objective.metrics(interleave([share(rank) for rank in range(world_size)]), tokens_per_byte=0.3)
