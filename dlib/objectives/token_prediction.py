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
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.data.samples import Sample
from dlib.models.parts import output_layer
from dlib.models.projection import taking_inputs
from dlib.objectives.chunked_loss import chunked_losses, chunked_predictions, find_chunks, losses_and_likeliest
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

    def losses(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Cross-entropy in nats of each target token (K,), with a gradient: what a training lowers.

        Where there are more than a chunk, their logits are never whole (`chunked_loss`).
        """
        inputs = {"input_ids": batch["input_ids"], **inputs_beside(batch)}
        layer, chunk = find_chunks(model, inputs, batch["targets"], self.args.loss_chunk)
        if layer is None:
            logits = widened(predict_targets(model, batch, **self.forward_options))
            return F.cross_entropy(logits, batch["targets"], reduction="none")
        hidden = hidden_targets(model, layer, batch, **self.forward_options)
        return chunked_losses(hidden, layer, batch["targets"], chunk)

    @torch.no_grad()
    def predictions(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """The same without a gradient (K,), and the likeliest token (K,): what an evaluation measures."""
        inputs = {"input_ids": batch["input_ids"], **inputs_beside(batch)}
        layer, chunk = find_chunks(model, inputs, batch["targets"], self.args.loss_chunk)
        if layer is None:
            return losses_and_likeliest(predict_targets(model, batch, **self.forward_options), batch["targets"])
        hidden = hidden_targets(model, layer, batch, **self.forward_options)
        return chunked_predictions(hidden, layer, batch["targets"], chunk)

    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sum of the losses of the batch's target tokens, in nats: a scalar with a gradient."""
        return self.losses(model, batch).sum()

    def row_losses(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sums of the losses of each row's target tokens, (B,) with a gradient."""
        losses, (rows, width) = self.losses(model, batch), batch["input_ids"].shape
        is_of_row = batch["target_positions"] // width == torch.arange(rows, device=losses.device)[:, None]
        return torch.where(is_of_row, losses, 0).sum(1)

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The sums of an evaluation, and nothing else."""
        return Evaluated(self.sums(*self.predictions(model, batch), batch))

    def sums(self, losses: Tensor, predicted: Tensor, batch: Batch) -> dict[str, float]:
        """Loss in nats, summed in float64, number of target tokens, and how many of them were predicted.

        Args:
            losses: of each target token (K,).
            predicted: the likeliest tokens in their places (K,).
            batch: what they are of.
        """
        return {
            "loss": float(losses.cpu().double().sum()),
            "targets": float(len(losses)),
            "correct": float((predicted == batch["targets"]).sum()),
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
    return predict_at(model, batch["input_ids"], batch["target_positions"], **inputs_beside(batch), **options)


def hidden_targets(model: PreTrainedModel, layer: nn.Module, batch: Batch, **options: Any) -> Tensor:
    """What the layer that gives the logits would project (K, H), at the batch's target positions; it does not."""
    positions = batch["target_positions"]
    with taking_inputs(layer) as taken:
        _, is_cut = forward_at(model, batch["input_ids"], positions, **inputs_beside(batch), **options)
    return kept_at(taken[0], positions, is_cut)


def inputs_beside(batch: Batch) -> dict[str, Any]:
    """What a model is told of a batch's tokens, by name: which are padding, which document they are of."""
    documents = {"documents": batch["documents"]} if "documents" in batch else {}
    return {"attention_mask": batch.get("attention_mask"), **documents}


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
    output, is_cut = forward_at(model, input_ids, positions, attention_mask=attention_mask, **options)
    return kept_at(output.logits, positions, is_cut)


def kept_at(numbers: Tensor, positions: Tensor, is_cut: bool) -> Tensor:
    """Those of some positions (K, *), of a tensor that holds no others (1, K, *), or all (B, T, *)."""
    return numbers.squeeze(0) if is_cut else numbers.flatten(0, 1)[positions]


def forward_at(model: PreTrainedModel, input_ids: Tensor, positions: Tensor, **options: Any) -> tuple[Any, bool]:
    """What a model gives whose head sees some positions alone, and whether it does; see `predict_at`."""
    is_cut = False

    def cut(module: nn.Module, hidden: Tensor) -> Tensor:
        nonlocal is_cut
        if hidden.shape[:2] != input_ids.shape:
            raise RuntimeError(f"{type(module).__name__}: hidden states {tuple(hidden.shape)} are not (B, T, H)")
        is_cut = True
        return hidden.flatten(0, 1)[positions].unsqueeze(0)

    def keep_targets(trunk: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, dict) and "last_hidden_state" in output:
            output["last_hidden_state"] = cut(trunk, output["last_hidden_state"])
        return output

    layer = output_layer(model)
    hook = (
        model.base_model.register_forward_hook(keep_targets)
        if layer is None
        else layer.register_forward_pre_hook(lambda layer, args: (cut(layer, args[0]), *args[1:]), prepend=True)
    )
    try:
        # Some models (OPT) call a part of their trunk and not the trunk, and a network of one's own may have none.
        return model(input_ids=input_ids, return_dict=True, **options), is_cut
    finally:
        hook.remove()
