"""What a model does with a few tokens, tried out before it trains: whether it looks ahead, or remembers what it saw.

A run is a function of its configuration, data and seed, and goes on from its weights alone. A model that keeps anything
else from one batch to the next, or draws from a generator that it sets by the clock, breaks both promises.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dlib.args.tables import MODELS
from dlib.models.hub import reason_of
from dlib.models.limits import max_positions
from dlib.process.errors import UserError
from dlib.process.seeding import seed_other_generators

PROBE_LENGTH, PROBE_TOLERANCE = 8, 1e-6
"""A few tokens, and little: the same shapes give a model that looks back the very same numbers."""
LONGER = 2 * PROBE_LENGTH
GPU_KERNELS = ("flash_attention", "flex_attention")
"""Attention that computes on GPUs alone, or that is compiled for a minute on the CPU."""


def computes_on_cpu(model: PreTrainedModel) -> bool:
    """Whether a model can be tried out where its weights are drawn: its attention kernel is none for GPUs."""
    return not str(getattr(model.config, "_attn_implementation", None) or "").startswith(GPU_KERNELS)


def probe_ids(model: PreTrainedModel, length: int) -> Tensor:
    """Some tokens (1, T)."""
    length = min(length, max_positions(model) or length)
    return torch.arange(length, device=model.device)[None] % model.config.vocab_size


def answer(model: PreTrainedModel, ids: Tensor, options: Mapping[str, Any]) -> Tensor:
    """What a model says of tokens (1, T), an encoder-decoder with the same for its decoder: logits or hidden states."""
    if type(model).__name__.endswith("ForMultipleChoice"):
        ids = ids[:, None]  # (B, C, T): of one choice
    decoder = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    found: Tensor = model(input_ids=ids, **decoder, **options)[0]
    return found


@torch.no_grad()
def refuse_looking_ahead(model: PreTrainedModel, source: str, options: Mapping[str, Any]) -> None:
    """Refuse a model that sees the token that it is to predict: its loss would be low, and mean nothing.

    The model is on the CPU; the options are those of its forward pass in training.

    Raises:
        UserError: what it says of the first tokens depends on the last one, or it cannot compute in its precision.
    """
    ids = probe_ids(model, PROBE_LENGTH)
    changed = ids.clone()
    changed[0, -1] = 0
    was_training = model.training
    model.eval()
    try:
        before, after = (answer(model, tokens, options)[0, :-1] for tokens in (ids, changed))
    except RuntimeError as error:  # OPT in float64, with transformers 4.38
        if model.dtype == torch.float32:
            raise UserError(f"{source} cannot be trained with these options: {reason_of(error)}") from error
        raise UserError(f"--precision: {source} cannot compute in {model.dtype}: {reason_of(error)}") from error
    model.train(was_training)
    if not torch.allclose(before, after, atol=PROBE_TOLERANCE, equal_nan=True):
        raise UserError(
            f"{source} sees the tokens that it is to predict; choose another --model or another --objective"
        )


def keep_attention_type(model: PreTrainedModel) -> None:
    """Have a model choose its kind of attention anew for each batch.

    BigBird switches from sparse to full attention at the first batch that is too short for blocks, and for good: what
    it computes would depend on the batches before, and a run that goes on from its weights would begin with the sparse
    kind again. Before, and not after a batch, because gradient checkpointing computes it once more in between.
    """
    trunk: Any = model.base_model
    if not (hasattr(trunk, "set_attention_type") and hasattr(trunk, "attention_type")):
        return
    configured = trunk.attention_type

    def restore(*_: Any) -> None:
        if trunk.attention_type != configured:
            with torch.random.fork_rng(devices=[]):  # it makes new modules, whose weights it draws and throws away
                trunk.set_attention_type(configured)

    trunk.register_forward_pre_hook(restore)


def refuse_hidden_state(model: PreTrainedModel, max_length: int, source: str, options: Mapping[str, Any]) -> None:
    """Refuse a model that does not give the same for the same batch and seed, whatever it saw between.

    The model is on the CPU; rows of `max_length` are for one that takes no short ones.
    """
    try:
        is_pure = gives_the_same(model, (LONGER, PROBE_LENGTH), options)
    except Exception:  # Reformer, whose rows have one length
        try:
            is_pure = gives_the_same(model, (max_length,), options)
        except Exception as error:  # transformers raises whatever a model's own code raises
            if source in MODELS:  # who wrote it needs the traceback
                raise
            raise UserError(f"{source} cannot be trained with these options: {reason_of(error)}") from error
    if not is_pure:
        raise UserError(
            f"{source}: {type(model).__name__} gives other numbers for the same tokens and the same seed, as it keeps "
            "what it saw or draws by the clock: no run of it could be repeated or resumed; choose another model"
        )


@torch.no_grad()
def gives_the_same(model: PreTrainedModel, lengths: Sequence[int], options: Mapping[str, Any]) -> bool:
    """Whether rows of these lengths, and then the first of them again, end as they began; the model stays as it is."""
    was_training, buffers = model.training, [buffer.clone() for buffer in model.buffers()]
    model.train()
    try:
        with torch.random.fork_rng(devices=[]):
            outcomes = [outcome(model, length, options) for length in (*lengths, lengths[0])]
    finally:
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        model.train(was_training)
    (logits, state), (logits_again, state_again) = outcomes[0], outcomes[-1]
    tolerance = PROBE_TOLERANCE * max(1.0, float(logits.abs().max()))
    return torch.equal(state, state_again) and torch.allclose(logits, logits_again, rtol=0, atol=tolerance)


def outcome(model: PreTrainedModel, length: int, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """What is said of some tokens after setting all generators, and where that leaves torch's."""
    torch.manual_seed(0)
    seed_other_generators("probe")
    return answer(model, probe_ids(model, length), options).nan_to_num(), torch.get_rng_state()
