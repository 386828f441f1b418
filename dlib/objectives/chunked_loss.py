"""Losses of target tokens of which only some have their logits in memory at a time (`--loss_chunk`).

The logits of all targets are the largest activation of a causal model: with the loss's own copy and their gradient,
three times K x V numbers, which no cache holds. Here the gradients of a chunk are worked out together with its losses
and added up: what stays is of the size of the hidden states and of the projection (Hsu et al. 2024, "Liger Kernel",
section 3.2, without their kernels).

Letters: K targets, H hidden size, V vocabulary size, c targets of a chunk, B rows, T tokens a row.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.models.projection import find_projection, has_no_memory
from dlib.objectives.objective import widened
from dlib.process.errors import UserError

LOSS_CHUNK = {"cpu": 128}
"""Targets of a chunk, where nobody says so: their logits stay in a cache,"""
LOSS_CHUNK_OF_A_GPU = 2048
"""... and here they are enough for a kernel."""


def find_chunks(
    model: PreTrainedModel, inputs: Mapping[str, Tensor | None], targets: Tensor, chosen: int | None
) -> tuple[nn.Linear | None, int]:
    """The projection of a model, and how many targets have their logits in memory at a time; None: all have them.

    Args:
        model: asked for its projection, also where nothing comes of it (`find_projection`).
        inputs: of the model, by name.
        targets: of any shape.
        chosen: `--loss_chunk`; None: by the device.
    """
    layer = find_projection(model, inputs)
    chunk = LOSS_CHUNK.get(targets.device.type, LOSS_CHUNK_OF_A_GPU) if chosen is None else chosen
    # Without memory a row stands for many: what they would keep is asked for (--micro_batch_size auto).
    is_cut = chunk and (targets.numel() > chunk or has_no_memory(targets))
    return (layer if is_cut else None), chunk


def chunked_losses(hidden: Tensor, layer: nn.Linear, targets: Tensor, chunk: int) -> Tensor:
    """Cross-entropy of each target in nats (K,), with a gradient.

    Args:
        hidden: what the layer projects (K, H).
        layer: onto the vocabulary.
        targets: the right tokens (K,).
        chunk: how many have their logits in memory at a time.
    """
    dtype = layer(hidden[:0]).dtype  # autocast's, where it is on
    bias = None if layer.bias is None else layer.bias.to(dtype)
    losses: Tensor = ChunkedCrossEntropy.apply(hidden.to(dtype), layer.weight.to(dtype), bias, targets, chunk)
    return losses


@torch.no_grad()
def chunked_predictions(hidden: Tensor, layer: nn.Linear, targets: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy (K,) without a gradient, and the likeliest token (K,), see `chunked_losses`."""
    pairs = zip(hidden.split(chunk), targets.split(chunk), strict=True)
    parts = [losses_and_likeliest(layer(some), right) for some, right in pairs]
    losses, likeliest = zip(*parts, strict=True)
    return torch.cat(losses), torch.cat(likeliest)


def losses_and_likeliest(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats (K,) of logits (K, V), and the likeliest token (K,)."""
    return F.cross_entropy(widened(logits), targets, reduction="none"), logits.argmax(-1)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Losses, and gradients that are made with them, as those of the losses' sum.

    Where the sum weighs them unequally, gradients are made anew when that is known.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int) -> Tensor:
        """Losses (K,) in nats; see `go_through`."""
        ctx.chunk = chunk
        inputs = (hidden, weight, bias)
        losses, gradients = go_through(inputs, targets, chunk, ctx.needs_input_grad)
        ctx.save_for_backward(*inputs, targets, *gradients)
        return losses

    @staticmethod
    def backward(ctx: Any, *shares: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the projection's inputs (K, H), weight (V, H) and bias (V,); `shares` of the losses (K,).

        Raises:
            UserError: a gradient of these is wanted (`create_graph`), which would be taken for nothing.
        """
        if torch.is_grad_enabled():
            raise UserError("--loss_chunk: the objective takes a gradient of a gradient; give --loss_chunk 0")
        (share,), (*inputs, targets), gradients = shares, ctx.saved_tensors[:4], ctx.saved_tensors[4:]
        factor: Tensor | None = share[:1].sum()  # that of the first, of none 0
        if share.stride() != (0,) and not torch.equal(share, share[:1].expand_as(share)):  # not what a sum gives
            gradients, factor = go_through(inputs, targets, ctx.chunk, ctx.needs_input_grad, share)[1], None
        return *(scaled(each, factor, like) for each, like in zip(gradients, inputs, strict=True)), None, None


def go_through(
    inputs: Sequence[Tensor | None],
    targets: Tensor,
    chunk: int,
    wanted: Sequence[bool],
    shares: Tensor | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """Losses (K,) in nats, and gradients of their sum in single precision at least.

    Args:
        inputs: of the projection (K, H), its weight (V, H) and its bias (V,), all of a dtype.
        targets: the right tokens (K,).
        chunk: targets whose logits are there at a time.
        wanted: which inputs are to have a gradient.
        shares: of each loss in the sum (K,); none: 1.
    """
    hidden, weight, bias = cast(tuple[Tensor, Tensor, Tensor | None], inputs)
    pairs = zip(inputs, wanted, strict=False)
    gradients = [widened(torch.zeros_like(each)) if each is not None and want else None for each, want in pairs]
    losses = []
    for start in range(0, len(targets) or 1, chunk):
        part, right = hidden[start : start + chunk], targets[start : start + chunk, None]
        log_likelihoods = F.log_softmax(widened(F.linear(part, weight, bias)), dim=-1)  # (c, V)
        losses.append(-log_likelihoods.gather(1, right)[:, 0])
        errors = log_likelihoods.exp_().scatter_add_(1, right, torch.full_like(right, -1, dtype=log_likelihoods.dtype))
        if shares is not None:
            errors *= shares[start : start + chunk, None]
        add_gradients(gradients, errors.to(part.dtype), part, weight, start)
    return torch.cat(losses), gradients


def add_gradients(
    gradients: Sequence[Tensor | None], errors: Tensor, hidden: Tensor, weight: Tensor, start: int
) -> None:
    """Add those of a chunk that begins at a target, by the gradient of its logits (c, V)."""
    of_hidden, of_weight, of_bias = gradients
    if of_hidden is not None:
        of_hidden[start : start + len(errors)] = errors @ weight
    if of_weight is not None and of_weight.dtype == errors.dtype:
        of_weight.addmm_(errors.T, hidden)  # in place: a sum of its own would be as large as the weights
    elif of_weight is not None:
        of_weight += errors.T @ hidden
    if of_bias is not None:
        of_bias += errors.sum(0)


def scaled(gradient: Tensor | None, factor: Tensor | None, like: Tensor | None) -> Tensor | None:
    """A gradient times a factor, in the dtype of what it is of."""
    if gradient is None or like is None:
        return None
    return (gradient if factor is None else gradient * factor).to(like.dtype)
