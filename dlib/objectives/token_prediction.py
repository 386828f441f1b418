"""What the objectives share that predict tokens at chosen positions of a row.

The vocabulary projection is the largest matrix of a small model and the largest activation of any.
It is computed at the positions that have a target and nowhere else: the trunk's hidden states are cut
down to those positions before the model's own head sees them, by a hook, so that it works for every
Hugging Face architecture without knowing its head.

Letters: B rows, T tokens a row, K targets in all rows, H hidden size, V vocabulary size.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.args import ObjectiveArgs
from dlib.data.packing import PADDING_MULTIPLE
from dlib.data.token_roles import TokenRoles
from dlib.models.head import Head

Batch = dict[str, Tensor]
"""`input_ids` (B, T); `attention_mask` (B, T) where a row is padded; `target_positions` (K,), indices
into the B*T flattened tokens; `targets` (K,). All int64."""

SampleKey = tuple[int | str, ...]
"""All that a sample's randomness may depend on: (seed, epoch, sample id) in training, (name of the
pass, sample id) in an evaluation, where two models must see the same masks whatever their seeds."""


LARGEST_EXPONENT = 700
"""Of e, in a float."""


class TokenPrediction(ABC):
    """An objective: rows of tokens in, a sum of losses over target tokens out."""

    auto_model: ClassVar[str]
    """Name of the transformers class that loads a model with the right head."""

    looks_back_only: ClassVar[bool] = False
    """Whether no position may see what follows it."""

    SUMS: ClassVar[tuple[str, ...]] = ("loss", "targets", "correct")
    """What `evaluation_sums` returns, by name."""

    close_truncated: ClassVar[bool] = True
    """Whether a line that was cut to fit its row ends with the separator all the same."""

    forward_options: ClassVar[dict[str, Any]] = {}
    """Further arguments of the model's forward pass."""

    def __init__(self, args: ObjectiveArgs, roles: TokenRoles) -> None:
        """Keep the arguments and the roles of the tokenizer's special tokens."""
        self.args = args
        self.roles = roles

    @property
    def head(self) -> Head:
        """Which network it trains."""
        return Head(self.auto_model, self.looks_back_only, self.forward_options)

    @abstractmethod
    def count_targets(self, row: np.ndarray) -> int:
        """Number of target tokens that `prepare_row` will choose in a row (T,), without choosing them."""

    @abstractmethod
    def prepare_row(self, row: np.ndarray, key: SampleKey) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Turn a row (T,) into what the model sees (T,), the target positions (k,) and the targets (k,)."""

    def collate(self, rows: Sequence[np.ndarray], keys: Sequence[SampleKey]) -> Batch:
        """Prepare each row by its own key, pad the rows to one length, and stack them."""
        prepared = [self.prepare_row(row, key) for row, key in zip(rows, keys, strict=True)]
        lengths = [len(row) for row in rows]
        width = max(lengths)
        padded = min(lengths) < width
        if padded:
            width = math.ceil(width / PADDING_MULTIPLE) * PADDING_MULTIPLE
        input_ids = np.full((len(rows), width), self.roles.pad_id, dtype=np.int64)
        for index, (tokens, _, _) in enumerate(prepared):
            input_ids[index, : len(tokens)] = tokens
        batch = {
            "input_ids": torch.from_numpy(input_ids),
            "target_positions": torch.from_numpy(
                np.concatenate([index * width + positions for index, (_, positions, _) in enumerate(prepared)])
            ),
            "targets": torch.from_numpy(np.concatenate([targets for _, _, targets in prepared])),
        }
        if padded:  # full rows go without: attention kernels are faster when there is no mask
            batch["attention_mask"] = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
        return batch

    def losses(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats (K,) and logits (K, V) of each target token."""
        logits = predict_targets(model, batch, **self.forward_options)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        return F.cross_entropy(logits, batch["targets"], reduction="none"), logits

    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sum of the losses of the batch's target tokens, in nats: a scalar with a gradient."""
        return self.losses(model, batch)[0].sum()

    def evaluation_sums(self, model: PreTrainedModel, batch: Batch) -> dict[str, float]:
        """What an evaluation adds up over batches and processes, summed in float64."""
        losses, logits = self.losses(model, batch)
        return {
            "loss": float(losses.cpu().double().sum()),
            "targets": float(len(losses)),
            "correct": float((logits.argmax(-1) == batch["targets"]).sum()),
        }

    def metrics(self, sums: Mapping[str, float], tokens_per_byte: float) -> dict[str, float]:
        """Turn the sums of a whole evaluation into the reported numbers.

        `bits_per_byte` divides by bytes of text in place of tokens, so that models with different
        tokenizers can be compared: loss / ln 2 * tokens per byte (the text's line ends count, as its
        separator tokens do).
        """
        loss = sums["loss"] / max(sums["targets"], 1.0)
        return {
            "loss": loss,
            "perplexity": math.inf if loss > LARGEST_EXPONENT else math.exp(loss),
            "bits_per_byte": loss / math.log(2) * tokens_per_byte,
            "accuracy": sums["correct"] / max(sums["targets"], 1.0),
        }


def predict_targets(model: PreTrainedModel, batch: Batch, **options: Any) -> Tensor:
    """Logits (K, V) at the batch's target positions; `options` go to the model's forward pass.

    Raises:
        RuntimeError: the trunk's hidden states are not (B, T, H), so positions cannot be found in them.
    """
    input_ids, positions = batch["input_ids"], batch["target_positions"]
    is_cut = False

    def keep_targets(trunk: torch.nn.Module, args: Any, output: Any) -> Any:
        nonlocal is_cut
        hidden = output["last_hidden_state"]
        if hidden.shape[:2] != input_ids.shape:
            raise RuntimeError(f"{type(trunk).__name__}: hidden states {tuple(hidden.shape)} are not (B, T, H)")
        output["last_hidden_state"] = hidden.flatten(0, 1)[positions].unsqueeze(0)
        is_cut = True
        return output

    hook = model.base_model.register_forward_hook(keep_targets)
    try:
        output = model(input_ids=input_ids, attention_mask=batch.get("attention_mask"), return_dict=True, **options)
    finally:
        hook.remove()
    # Some models (OPT) call a part of their trunk and not the trunk, which the hook does not see.
    return output.logits.squeeze(0) if is_cut else output.logits.flatten(0, 1)[positions]
