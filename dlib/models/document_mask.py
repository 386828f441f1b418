"""Packed rows whose documents do not see each other (`--document_mask`), for any model that takes a mask or positions.

A batch says of each token to which document of its row it belongs. What a model needs to be told of that differs by
model and by version of transformers, and some take a mask and pass over it. So the ways are tried out before anything
is trained, on a row of three documents:

    the middle one says what it says alone, and does not move when its neighbours change

The first way that passes is taken: a hook turns `documents` (B, T) into it in each forward pass.
Letters: B rows, T tokens a row.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dlib.models.head import Head
from dlib.models.limits import first_position, position_table
from dlib.models.probes import PROBE_TOLERANCE, answer, computes_on_cpu
from dlib.process.errors import UserError

DOCUMENT_LENGTH, NEIGHBOUR_LENGTH = 6, 3
"""Tokens of the middle document, beyond a window if the model has one, and of the others."""
ALONE_TOLERANCE = 1e-4
"""Relative: with a mask another kernel computes, which adds up in another order."""

Way = Callable[[PreTrainedModel, Tensor], Any]
"""From what each token may see, (B, T, T), to what the model takes for its mask."""


def nothing(model: PreTrainedModel, seen: Tensor) -> None:
    """No mask: decoders of newer versions of transformers see by the positions where documents begin."""


def additive(model: PreTrainedModel, seen: Tensor) -> Tensor:
    """What is added to the scores: 0 where a token is seen, and the lowest number elsewhere, (B, 1, T, T)."""
    lowest = torch.finfo(model.dtype).min
    return torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, lowest)[:, None]


def additive_by_layer(model: PreTrainedModel, seen: Tensor) -> dict[str, Tensor]:
    """The same for each kind of layer, some of which see a window alone (ModernBERT)."""
    places = torch.arange(seen.shape[1], device=seen.device)
    near = (places[:, None] - places).abs() <= (window(model) or 0)
    return {"full_attention": additive(model, seen), "sliding_attention": additive(model, seen & near)}


def ones(model: PreTrainedModel, seen: Tensor) -> Tensor:
    """1 where a token is seen, (B, 1, T, T): Llama in transformers 4.39 and 4.40."""
    return seen[:, None].long()


def ones_without_heads(model: PreTrainedModel, seen: Tensor) -> Tensor:
    """1 where a token is seen, (B, T, T): BERT and its kin in older versions of transformers."""
    return seen.long()


WAYS: tuple[Way, ...] = (nothing, additive, additive_by_layer, ones, ones_without_heads)


def keep_documents_apart(model: PreTrainedModel, source: str, max_length: int, head: Head) -> None:
    """Have a model's forward pass take `documents` (B, T), the number of each token's document in its row.

    Args:
        model: on the CPU.
        source: its name or folder.
        max_length: most tokens in a row.
        head: what the objective needs of it.

    Raises:
        UserError: the model cannot keep documents apart.
    """
    if not computes_on_cpu(model):
        kernel = model.config._attn_implementation
        raise UserError(
            f"--document_mask is for --attn_implementation sdpa and eager, which take masks; not for {kernel}"
        )
    for way in WAYS:
        prepare = partial(
            with_documents,
            way=way,
            first=first_position(position_table(model)),
            has_positions="position_ids" in inspect.signature(model.forward).parameters,
            looks_back_only=head.looks_back_only,
        )
        hook = model.register_forward_pre_hook(prepare, with_kwargs=True)
        if are_apart(model, max_length, head.forward_options):
            return
        hook.remove()
    raise UserError(
        f"--document_mask: {type(model).__name__} of {source} does not keep documents apart with the installed version "
        "of transformers; leave it out, or choose another --model"
    )


def with_documents(
    model: PreTrainedModel,
    args: tuple[Any, ...],
    options: dict[str, Any],
    *,
    way: Way,
    first: int,
    has_positions: bool,
    looks_back_only: bool,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a forward pass, with a mask and positions in place of `documents`, if they are there."""
    documents = options.pop("documents", None)
    if documents is None:
        return args, options
    seen = documents[:, :, None] == documents[:, None, :]
    if looks_back_only:
        seen = seen.tril()
    options["attention_mask"] = way(model, seen)
    if has_positions:
        options["position_ids"] = first + positions(documents)
    return args, options


def positions(documents: Tensor) -> Tensor:
    """Place of each token in its document, (B, T): documents (B, T) are neighbours with different numbers."""
    places = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return places - torch.where(begins, places, 0).cummax(1).values


def window(model: PreTrainedModel) -> int | None:
    """How far tokens see in layers that see a window alone, if there are any."""
    config = model.config
    local = getattr(config, "local_attention", None)
    return local // 2 if local else getattr(config, "sliding_window", None)


@torch.no_grad()
def are_apart(model: PreTrainedModel, max_length: int, options: Mapping[str, Any]) -> bool:
    """Whether a document says the same alone and between others, whatever they are."""
    length = max(2, min((window(model) or 0) + DOCUMENT_LENGTH, max_length - 2 * NEIGHBOUR_LENGTH))
    documents = torch.arange(3).repeat_interleave(torch.tensor([NEIGHBOUR_LENGTH, length, NEIGHBOUR_LENGTH]))
    middle = documents == 1
    tokens = torch.arange(model.config.vocab_size)
    tokens = tokens[tokens != getattr(model.config, "pad_token_id", None)]  # whose position some models leave out
    ids = tokens[torch.arange(len(documents)) % len(tokens)]
    others = torch.where(middle, ids, tokens[(torch.arange(len(documents)) + 1) % len(tokens)])
    was_training = model.training
    model.eval()
    try:
        alone = answer(model, ids[middle][None], options)
        rows = [answer(model, row[None], {**options, "documents": documents[None]}) for row in (ids, others)]
    except Exception:  # a mask of that form: models raise whatever they raise
        return False
    finally:
        model.train(was_training)
    here, there = (row[:, middle] for row in rows)
    largest = max(1.0, float(alone.abs().max()))
    return torch.allclose(here, there, rtol=0, atol=PROBE_TOLERANCE * largest) and torch.allclose(
        here, alone, rtol=0, atol=ALONE_TOLERANCE * largest
    )
