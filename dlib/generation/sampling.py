"""Draw tokens so that what is drawn for a row depends on the row's own key and on nothing else.

transformers draws the tokens of a whole batch from one generator, so that a text changes with its neighbours. Here a
row has a number from [0, 1) for each of its steps, from a generator of its own key, and takes the token in whose share
of the probabilities, laid end to end in the order of the vocabulary, that number falls. (Not in the order of the
probabilities: there, tokens that are about as likely would change places with the last bits of the logits.)

Letters: B rows, V vocabulary size, N new tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from dlib.args.generation import GenerationArgs
from dlib.process.seeding import keyed_generator

CANDIDATES = 256
"""Of the likeliest tokens, among which the nucleus is sought first."""
DrawKey = tuple[int, ...]
"""What a row is drawn by: the number of its line, and of its sample where that is not the first."""


def draw_key(line: int, sample: int) -> DrawKey:
    """The key of a sample, both counted from 1; the first has that of a line of which only one is drawn."""
    return (line,) if sample == 1 else (line, sample)


class KeyedSampling(LogitsProcessor):
    """Leaves of all logits one a row: that of the token which was drawn, for a greedy search to find."""

    def __init__(
        self, keys: Sequence[DrawKey], args: GenerationArgs, prompt_width: int, num_steps: int, device: torch.device
    ) -> None:
        """Draw the numbers of all steps, for each row by its key and the seed.

        Args:
            keys: of the rows.
            args: with a `drawing_temperature` above 0.
            prompt_width: tokens of each row, padding among them, before the first that is drawn.
            num_steps: tokens that are drawn at most.
            device: where the logits will be.
        """
        self.args, self.prompt_width = args, prompt_width
        drawn = [keyed_generator("continuation", args.seed, *key).random(num_steps) for key in keys]
        # Not every device has float64.
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.numbers = torch.stack([torch.from_numpy(row) for row in drawn]).to(self.dtype).to(device)  # (B, N)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Draw the next token of each row, from logits (B, V) after `input_ids` (B, T)."""
        args = self.args
        probabilities = likeliest(scores.to(self.dtype), args.drawing_temperature, args.top_k, args.top_p)
        step = input_ids.shape[1] - self.prompt_width
        tokens = draw(probabilities, self.numbers[:, step])
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


def likeliest(logits: Tensor, temperature: float, top_k: int | None, top_p: float) -> Tensor:
    """Probabilities (B, V), not made to add up to 1 again, which are 0 for what may not be drawn.

    The nucleus of `top_p` (Holtzman et al., "The curious case of neural text degeneration", 2020) is found among the
    `top_k`; the likeliest token is always part of it.
    """
    # Less the largest, so that no temperature is too small.
    scaled = (logits - logits.max(-1, keepdim=True).values) / temperature
    if top_k is not None and top_k < scaled.shape[1]:
        scaled = scaled.masked_fill(scaled < scaled.topk(top_k).values[:, -1:], -torch.inf)
    probabilities = scaled.softmax(-1)
    return probabilities if top_p == 1 else nucleus(probabilities, top_p)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The probabilities (B, V) of the likeliest tokens that together have `top_p`, and 0 for the others.

    Of a trained model they are some tens: the first few hundred are found in a fraction of the time that sorting takes.
    """
    ordered, tokens = probabilities.topk(min(CANDIDATES, probabilities.shape[1]))
    is_kept = is_in_nucleus(ordered, top_p)
    if not ends_within(ordered, is_kept):
        ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
        is_kept = is_in_nucleus(ordered, top_p)
    return torch.zeros_like(probabilities).scatter(1, tokens, ordered.masked_fill(~is_kept, 0.0))


def is_in_nucleus(ordered: Tensor, top_p: float) -> Tensor:
    """Whether those before it are less than `top_p`, of each row (B, N) of probabilities, the largest first."""
    return ~(ordered.cumsum(-1) - ordered >= top_p)  # so that what is no number stays, and fails as without a nucleus


def ends_within(ordered: Tensor, is_kept: Tensor) -> bool:
    """Whether the last that is kept of each row (B, N), the largest first, is there, and larger than the next.

    Of several that are as likely those with the lowest numbers are kept, which a stable order of all of them tells.
    """
    is_last = is_kept[:, :-1] & ~is_kept[:, 1:]
    return not bool(is_kept[:, -1].any() | (is_last & (ordered[:, :-1] == ordered[:, 1:])).any())


def draw(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """The tokens (B,) in whose share of the probabilities (B, V) the numbers (B,) of [0, 1) fall."""
    shares = probabilities.cumsum(-1)
    # 1 - number is in (0, 1]: the first share that reaches it exists and is not empty, whatever is rounded.
    reached = (1 - numbers)[:, None] * shares[:, -1:]
    return torch.searchsorted(shares, reached).squeeze(1)
