"""Lines as batches of token rows: windows of lines in order, rows of like length together, padding.

    lines --windows--> some hundred at a time --by_length--> batches of rows --padded--> (B, T)

Letters: B rows, T tokens a row.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.data.token_parts import item_lead
from dlib.data.unknown_words import encode, naming_unknown
from dlib.models.limits import max_positions

BATCHES_IN_WINDOW = 8
"""Enough that the rows of a batch are of like length, few enough that the first answers come soon."""
LONGEST_UNLIMITED = 4096
"""Tokens that a model reads at once which says of itself that there is no limit."""
NO_LIMIT = 10**9
"""A tokenizer without a limit names a larger number of tokens."""


def encode_items(tokenizer: PreTrainedTokenizerBase, items: Sequence[str]) -> list[list[int]]:
    """The ids of each item of a list, as a token store has them."""
    lead = item_lead(partial(naming_unknown, lambda texts: tokenizer(texts, add_special_tokens=False).encodings))
    texts = [item.strip() for item in items]
    return encode(tokenizer, [text and lead + text for text in texts])


def find_context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, trained_length: int | None) -> int:
    """Number of tokens that a model reads at once: the least that it, its tokenizer or its training allow."""
    limits = [max_positions(model), tokenizer.model_max_length, trained_length]
    return min((limit for limit in limits if limit and limit < NO_LIMIT), default=LONGEST_UNLIMITED)


def windows(lines: Iterable[str], batch_size: int, *, samples: int = 1, wait: bool) -> Iterator[list[str]]:
    """The lines in order, some batches at a time, where a line is `samples` rows; never more are held.

    A window is one line with a `batch_size` of 1, and unless it may `wait` for more lines before the first is answered.
    """
    size = max(1, batch_size * BATCHES_IN_WINDOW // samples) if wait and batch_size > 1 else 1
    remaining = iter(lines)
    while window := list(islice(remaining, size)):
        yield window


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """The indices of rows, given their lengths, as batches of like length; the longest first, which may lack memory."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def padded(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device, *, left: bool) -> tuple[Tensor, Tensor]:
    """Rows as one tensor (B, T), `left` with the padding before the tokens, and the mask (B, T) of 0 there; int64."""
    width = max(map(len, rows))
    gaps = [width - len(row) for row in rows]
    ids = [[pad_id] * gap * left + list(row) + [pad_id] * gap * (not left) for row, gap in zip(rows, gaps, strict=True)]
    mask = [[0] * gap * left + [1] * (width - gap) + [0] * gap * (not left) for gap in gaps]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
