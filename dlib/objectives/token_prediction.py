"""What the objectives share that predict tokens at chosen positions of a row.

The vocabulary projection is the largest matrix of a small model and the largest activation of any.
It is computed at the positions that have a target and nowhere else: the trunk's hidden states are cut
down to those positions before the model's own head sees them, by a hook, so that it works for every
Hugging Face architecture without knowing its head.

Letters: B rows, T tokens a row, K targets in all rows, H hidden size, V vocabulary size.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.data.samples import Sample
from dlib.models.parts import output_layer
from dlib.objectives.objective import Batch, Evaluated, Objective, widened
from dlib.objectives.padding import stack_documents, stack_rows

LARGEST_EXPONENT = 700
"""Of e, in a float."""


class TokenPrediction(Objective):
    """Rows of tokens in, a sum of losses over target tokens out.

    Its batches hold `input_ids` (B, T); `attention_mask` (B, T) where a row is padded, or `documents` (B, T) where its
    documents are kept apart; `target_positions` (K,), indices into the B*T flattened tokens; `targets` (K,). All int64.
    """

    keeps_documents_apart = True

    @abstractmethod
    def count_targets(self, row: np.ndarray) -> int:
        """Number of target tokens that `prepare` will choose in a row (T,), without choosing them."""

    @abstractmethod
    def prepare(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Turn a sample into what the model sees (T,), the target positions (k,) and the targets (k,)."""

    def weight(self, sample: Sample) -> float:
        """Its target tokens."""
        return self.count_targets(sample.ids)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Prepare each sample, pad the rows to one length, and stack them."""
        rows, positions, targets = zip(*map(self.prepare, samples), strict=True)
        batch = stack_rows(rows, self.roles.pad_id)
        starts = [sample.document_starts for sample in samples if sample.document_starts is not None]
        if starts:
            batch = stack_documents(starts, batch)
        width = batch["input_ids"].shape[1]
        flat = np.concatenate([index * width + places for index, places in enumerate(positions)])
        return {
            **batch,
            "target_positions": torch.from_numpy(flat),
            "targets": torch.from_numpy(np.concatenate(targets)),
        }

    def losses(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats (K,) and logits (K, V) of each target token."""
        logits = widened(predict_targets(model, batch, **self.forward_options))
        return F.cross_entropy(logits, batch["targets"], reduction="none"), logits

    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sum of the losses of the batch's target tokens, in nats: a scalar with a gradient."""
        return self.losses(model, batch)[0].sum()

    def row_losses(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sums of the losses of each row's target tokens, (B,) with a gradient."""
        losses, (rows, width) = self.losses(model, batch)[0], batch["input_ids"].shape
        is_of_row = batch["target_positions"] // width == torch.arange(rows, device=losses.device)[:, None]
        return torch.where(is_of_row, losses, 0).sum(1)

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The sums of an evaluation, and nothing else."""
        return Evaluated(self.sums(*self.losses(model, batch), batch))

    def sums(self, losses: Tensor, logits: Tensor, batch: Batch) -> dict[str, float]:
        """Loss in nats, summed in float64, number of target tokens, and how many of them were predicted.

        Args:
            losses: of each target token (K,).
            logits: for each of them (K, V).
            batch: what they are of.
        """
        return {
            "loss": float(losses.cpu().double().sum()),
            "targets": float(len(losses)),
            "correct": float((logits.argmax(-1) == batch["targets"]).sum()),
        }

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Loss and accuracy of a target token, and what follows from the loss.

        `bits_per_byte` divides by bytes of text in place of tokens, so that models with different
        tokenizers can be compared: loss / ln 2 * tokens per byte (the text's line ends count, as its
        separator tokens do).
        """
        targets = max(evaluated.sums["targets"], 1.0)
        loss = evaluated.sums["loss"] / targets
        return {
            "loss": loss,
            "perplexity": math.inf if loss > LARGEST_EXPONENT else math.exp(loss),
            "bits_per_byte": loss / math.log(2) * tokens_per_byte,
            "accuracy": evaluated.sums["correct"] / targets,
        }


def predict_targets(model: PreTrainedModel, batch: Batch, **options: Any) -> Tensor:
    """Logits (K, V) at the batch's target positions, see `predict_at`."""
    if "documents" in batch:
        options["documents"] = batch["documents"]
    return predict_at(model, batch["input_ids"], batch["target_positions"], batch.get("attention_mask"), **options)


def predict_at(
    model: PreTrainedModel, input_ids: Tensor, positions: Tensor, attention_mask: Tensor | None = None, **options: Any
) -> Tensor:
    """Logits (K, V) at some positions alone.

    Args:
        model: with a head over the vocabulary.
        input_ids: tokens (B, T).
        positions: indices into the B*T flattened tokens (K,).
        attention_mask: 0 at padding (B, T); None where there is none.
        options: of the model's forward pass.

    Raises:
        RuntimeError: the trunk's hidden states are not (B, T, H), so positions cannot be found in them.
    """
    is_cut = False

    def cut(module: torch.nn.Module, hidden: Tensor) -> Tensor:
        nonlocal is_cut
        if hidden.shape[:2] != input_ids.shape:
            raise RuntimeError(f"{type(module).__name__}: hidden states {tuple(hidden.shape)} are not (B, T, H)")
        is_cut = True
        return hidden.flatten(0, 1)[positions].unsqueeze(0)

    def keep_targets(trunk: torch.nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, dict) and "last_hidden_state" in output:
            output["last_hidden_state"] = cut(trunk, output["last_hidden_state"])
        return output

    layer = output_layer(model)
    hook = (
        model.base_model.register_forward_hook(keep_targets)
        if layer is None
        else layer.register_forward_pre_hook(lambda layer, args: (cut(layer, args[0]), *args[1:]))
    )
    try:
        output = model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **options)
    finally:
        hook.remove()
    # Some models (OPT) call a part of their trunk and not the trunk, and a network of one's own may have none.
    return output.logits.squeeze(0) if is_cut else output.logits.flatten(0, 1)[positions]
