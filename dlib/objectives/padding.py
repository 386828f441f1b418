"""Rows of different lengths as one tensor.

Letters: B rows, T tokens a row.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from dlib.data.packing import padded_width

NO_BYTE = -1


def stack_rows(rows: Sequence[np.ndarray], pad_id: int) -> dict[str, Tensor]:
    """Stack rows (T,), the shorter ones padded.

    Returns:
        `input_ids` (B, T) int64, and `attention_mask` (B, T) int64 only where a row is padded: attention kernels are
        faster when there is no mask.
    """
    lengths = [len(row) for row in rows]
    width = padded_width(lengths)
    is_padded = min(lengths) < width
    input_ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = row
    stacked = {"input_ids": torch.from_numpy(input_ids)}
    if is_padded:
        stacked["attention_mask"] = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return stacked


def stack_documents(starts: Sequence[np.ndarray], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which document of its row each token of a stacked batch belongs to; padding is one more.

    Args:
        starts: places where the further documents of each row begin, (n,) each.
        batch: of `stack_rows`.

    Returns:
        `input_ids` (B, T), and `documents` (B, T) int64 in place of the mask, for a model of `--document_mask`.
    """
    input_ids = batch["input_ids"]
    begins = torch.zeros_like(input_ids)
    if "attention_mask" in batch:
        begins[:, 1:] = batch["attention_mask"].diff(dim=1).abs()
    for row, places in zip(begins, starts, strict=True):
        row[places] = 1
    return {"input_ids": input_ids, "documents": begins.cumsum(1)}


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `stack_rows` made, of a batch that holds other tensors as well."""
    return {name: batch[name] for name in ("input_ids", "attention_mask", "documents") if name in batch}


def pack_texts(texts: Sequence[str]) -> Tensor:
    """Texts as their UTF-8 bytes (B, N), as a batch holds nothing but tensors."""
    return stack_rows([np.frombuffer(text.encode(), np.uint8) for text in texts], NO_BYTE)["input_ids"]


def unpack_texts(packed: Tensor) -> list[str]:
    """The texts that `pack_texts` packed."""
    return [bytes(row[row != NO_BYTE].tolist()).decode() for row in packed.cpu()]
