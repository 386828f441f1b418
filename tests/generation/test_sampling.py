"""Drawing tokens: from the right distribution, by keys, whatever is drawn beside."""

import pytest
import torch

from dlib.args.generation import GenerationArgs
from dlib.generation.sampling import CANDIDATES, KeyedSampling, draw, likeliest, nucleus

pytestmark = pytest.mark.oldest

LOGITS = torch.tensor([[2.0, 0.0, 1.0, -1.0, 1.0]], dtype=torch.float64)


def sampling(numbers: list[int], *, seed: int = 1, temperature: float = 1.0, steps: int = 4) -> KeyedSampling:
    """Sampling from all tokens, of which no prompt is part."""
    args = GenerationArgs(seed=seed, temperature=temperature, top_p=1.0)
    return KeyedSampling(
        [(number,) for number in numbers], args, prompt_width=0, num_steps=steps, device=torch.device("cpu")
    )


def test_tokens_come_as_often_as_their_probabilities_say() -> None:
    tokens = 20_000
    numbers = (torch.arange(tokens, dtype=torch.float64) + 0.5) / tokens
    counts = torch.bincount(draw(LOGITS.softmax(-1).expand(tokens, -1), numbers), minlength=5)
    assert (counts / tokens).tolist() == pytest.approx(LOGITS.softmax(-1)[0].tolist(), abs=1e-4)


def test_the_ends_of_the_range_draw_tokens_that_can_be_drawn() -> None:
    probabilities = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]], dtype=torch.float64)
    assert draw(probabilities, torch.tensor([0.0], dtype=torch.float64)).item() == 3
    assert draw(probabilities, torch.tensor([1 - 2**-53], dtype=torch.float64)).item() == 1


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (None, 1.0, [0, 1, 2, 3, 4]),
        (1, 1.0, [0]),
        (3, 1.0, [0, 2, 4]),
        (9, 1.0, [0, 1, 2, 3, 4]),
        (None, 1e-9, [0]),
        (None, 0.6, [0, 2]),
        (2, 0.99, [0, 2, 4]),  # the third is as likely as the second
    ],
)
def test_only_the_likeliest_tokens_may_be_drawn(top_k: int | None, top_p: float, kept: list[int]) -> None:
    probabilities = likeliest(LOGITS, 1.0, top_k, top_p)[0]
    assert probabilities.nonzero().flatten().tolist() == kept


def sorted_nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """The nucleus by its definition."""
    ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    is_kept = ordered.cumsum(-1) - ordered < top_p
    return torch.zeros_like(ordered).scatter(1, tokens, ordered.masked_fill(~is_kept, 0.0))


@pytest.mark.parametrize("decimals", [9, 1, 0])
@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.9, 0.999999])
@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1])
def test_the_nucleus_is_that_of_all_tokens_in_order_bit_by_bit(decimals: int, top_p: float, temperature: float) -> None:
    """With few decimals many tokens are as likely as each other."""
    logits = torch.randn(3, 4 * CANDIDATES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    probabilities = (logits.round(decimals=decimals) / temperature).softmax(-1)
    assert torch.equal(nucleus(probabilities, top_p), sorted_nucleus(probabilities, top_p))


@pytest.mark.parametrize("width", [5, 2 * CANDIDATES])
def test_what_is_no_number_is_not_passed_over(width: int) -> None:
    assert likeliest(torch.full((1, width), torch.nan), 1.0, None, 0.9).isnan().all()


@pytest.mark.parametrize("temperature", [1e-300, 1e-3])
def test_a_low_temperature_draws_the_likeliest_token(temperature: float) -> None:
    chosen = sampling([1, 2, 3], temperature=temperature)(torch.empty(3, 0), LOGITS.expand(3, -1))
    assert chosen.argmax(-1).tolist() == [0, 0, 0]


def test_a_high_temperature_makes_all_tokens_alike() -> None:
    assert likeliest(LOGITS, 1e9, None, 1.0)[0].tolist() == pytest.approx([0.2] * 5, abs=1e-6)


def test_a_row_draws_the_same_among_any_others() -> None:
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for step in range(4):
        seen = torch.empty(4, step)
        together = sampling([7, 8, 9, 10])(seen, logits).argmax(-1)
        alone = [sampling([7 + row])(seen[:1], logits[row : row + 1]).argmax(-1).item() for row in range(4)]
        assert together.tolist() == alone


def test_another_seed_or_line_draws_something_else() -> None:
    rows = [sampling([line], seed=seed, steps=20).numbers for seed in (1, 2) for line in (1, 2)]
    assert len({tuple(row[0].tolist()) for row in rows}) == 4
    assert torch.equal(sampling([1], steps=20).numbers[:, :5], sampling([1], steps=5).numbers)
