"""The losses of the plain loop; a project of one's own would have one of them, next to its loop."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from benchmarks.trainer_parts.workload import Workload

NOT_MEASURED = -100


class Loss(torch.nn.Module):
    """The loss of a network and a batch as a module: DDP exchanges the gradients of what it calls itself, alone."""

    def __init__(self, model: Any, loss_of: Callable[..., Any], workload: Workload) -> None:
        """Take a network that is on the workload's device."""
        super().__init__()
        self.model, self.loss_of = model, loss_of
        self.device = torch.device(workload.accelerator)
        self.in_bfloat16 = workload.precision == "bf16-mixed"

    def forward(self, batch: Any) -> Any:
        """The mean loss of its targets."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            return self.loss_of(self.model, batch, self.device)


def masked_loss(model: Any, batch: Any, device: Any) -> Any:
    """The mean loss of the masked tokens of BERT or RoBERTa, whose vocabulary projection sees no others.

    Rows are full, so no mask of padding is needed; and which tokens are masked is looked up before they are on a GPU,
    as it would be waited for.
    """
    labels = batch["labels"].flatten()
    positions = (labels != NOT_MEASURED).nonzero().squeeze(1)
    hidden = model.base_model(batch["input_ids"].to(device, non_blocking=True)).last_hidden_state
    head = model.cls if hasattr(model, "cls") else model.lm_head
    return cross_entropy(head(hidden.flatten(0, 1)[positions.to(device)]), labels[positions].to(device))


def model_loss(model: Any, batch: Any, device: Any) -> Any:
    """The loss that transformers' networks compute themselves."""
    return model(**{name: each.to(device, non_blocking=True) for name, each in batch.items()}).loss


def liger_loss(model: Any, batch: Any, device: Any) -> Any:
    """The mean loss of the next tokens of GPT-2 by the kernel of liger-kernel, which keeps no logits."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    ids = batch["input_ids"].to(device, non_blocking=True)
    hidden = model.base_model(ids).last_hidden_state[:, :-1].flatten(0, 1)
    weights = model.lm_head.weight.to(torch.bfloat16)  # autocast does not know the kernel
    return LigerFusedLinearCrossEntropyLoss()(weights, hidden.to(torch.bfloat16), ids[:, 1:].flatten())
