"""What the objectives of encoder-decoders share: the loss of each target token, from the source and those before it.

    source (B, S) --encoder--> hidden states --decoder, which sees the targets (B, T) one place to the right--> logits

Letters: B rows, S tokens of a source, T tokens of a target, V vocabulary size.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.models.projection import has_no_memory, taking_inputs
from dlib.objectives.chunked_loss import chunked_losses, chunked_predictions, find_chunks
from dlib.objectives.objective import Batch, Evaluated, Objective, widened
from dlib.objectives.padding import model_inputs, stack_rows

NO_TARGET = -100
"""What transformers, too, puts where a row of targets is padded."""
NO_CACHE = {"use_cache": False}


class EncoderDecoder(Objective):
    """Its batches hold `input_ids` (B, S), `attention_mask` (B, S) where a source is padded, and `labels` (B, T)."""

    leads = False
    auto_model = "AutoModelForSeq2SeqLM"
    forward_options: ClassVar[Mapping[str, Any]] = NO_CACHE
    card: ClassVar[Mapping[str, str]] = {"kind": "encoder-decoder", "pipeline_tag": "text2text-generation"}

    def stack(self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> Batch:
        """Rows of both (S,), (T,) as a batch."""
        labels = stack_rows(targets, NO_TARGET)["input_ids"]
        return {**stack_rows(sources, self.roles.pad_id), "labels": labels}

    smoothing: float = 0.0
    """Share of each target token that is spread over the vocabulary; in training alone."""

    def losses(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Cross-entropy in nats of each target token (B, T), 0 where there is none, with a gradient."""
        labels, inputs = batch["labels"], inputs_of(model, batch)
        layer, chunk = find_chunks(model, inputs, labels, 0 if self.smoothing else self.args.loss_chunk)
        if layer is None:
            return token_losses(model, batch, self.smoothing)[0]
        hidden, targets, places = hidden_targets(model, layer, inputs, labels)
        return put_back(chunked_losses(hidden, layer, targets, chunk), places, labels)

    @torch.no_grad()
    def predictions(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """The same without smoothing and gradient, and the likeliest tokens (B, T): what an evaluation measures."""
        labels, inputs = batch["labels"], inputs_of(model, batch)
        layer, chunk = find_chunks(model, inputs, labels, self.args.loss_chunk)
        if layer is None:
            losses, logits = token_losses(model, batch)
            return losses, logits.argmax(-1)
        hidden, targets, places = hidden_targets(model, layer, inputs, labels)
        losses, likeliest = chunked_predictions(hidden, layer, targets, chunk)
        return put_back(losses, places, labels), put_back(likeliest, places, labels)

    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sum of the losses of the batch's target tokens, in nats: a scalar with a gradient."""
        return self.losses(model, batch).sum()

    def row_losses(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sums of the losses of each row's target tokens, (B,) with a gradient."""
        return self.losses(model, batch).sum(1)

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The loss, and how many target tokens and whole targets would have been written as they are."""
        losses, likeliest = self.predictions(model, batch)
        is_target = batch["labels"] != NO_TARGET
        is_right = (likeliest == batch["labels"]) | ~is_target
        sums = {
            "loss": float(losses.cpu().double().sum()),
            "targets": float(is_target.sum()),
            "correct": float((is_right & is_target).sum()),
            "sequences": float(len(is_right)),
            "correct_sequences": float(is_right.all(-1).sum()),
        }
        return Evaluated(sums)

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Loss and accuracy of a target token."""
        sums, targets = evaluated.sums, max(evaluated.sums["targets"], 1.0)
        return {"loss": sums["loss"] / targets, "accuracy": sums["correct"] / targets}


def token_losses(model: PreTrainedModel, batch: Batch, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats of each target token (B, T), 0 where there is none, and logits (B, T, V)."""
    labels = batch["labels"]
    logits = model(**inputs_of(model, batch), **NO_CACHE).logits
    losses = F.cross_entropy(
        widened(logits).flatten(0, 1),
        labels.flatten(),
        ignore_index=NO_TARGET,
        label_smoothing=smoothing,
        reduction="none",
    )
    return losses.view_as(labels), logits


def inputs_of(model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
    """What a model is told of a batch, by name: sources (B, S), and what the decoder sees of its targets (B, T)."""
    return {**model_inputs(batch), "decoder_input_ids": shift_right(model, batch["labels"])}


def hidden_targets(
    model: PreTrainedModel, layer: nn.Module, inputs: Mapping[str, Tensor], labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What the layer that gives the logits would project for each target (K, H), these (K,), and their places (K,).

    Args:
        model: whose layer computes nothing here.
        layer: of the model.
        inputs: of the model.
        labels: targets, and padding (B, T); places count through them.
    """
    with taking_inputs(layer) as taken:
        model(**inputs, **NO_CACHE)
    targets = labels.flatten()
    if has_no_memory(labels):  # then nobody knows which are padding
        places = torch.arange(len(targets), device=labels.device)
    else:
        places = (targets != NO_TARGET).nonzero()[:, 0]
    return taken[0].flatten(0, 1)[places], targets[places], places


def put_back(numbers: Tensor, places: Tensor, labels: Tensor) -> Tensor:
    """Numbers of the targets (K,) at their places among the labels (B, T), 0 elsewhere."""
    return numbers.new_zeros(labels.numel()).index_copy(0, places, numbers).view_as(labels)


def shift_right(model: Any, labels: Tensor) -> Tensor:
    """What the decoder sees of its targets (B, T): the start token, and each token at the place of the next.

    By the model's own method where it has one, as mBART begins with the token of a language.
    """
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        return model.prepare_decoder_input_ids_from_labels(labels)
    shifted = F.pad(labels[:, :-1], (1, 0), value=model.config.decoder_start_token_id)
    return shifted.masked_fill(shifted == NO_TARGET, model.config.pad_token_id)
