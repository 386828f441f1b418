"""What other ways would do for the parts of a step on a CPU: optimizer, clipping, kernels, memory format, threads.

python -m benchmarks.step_parts [--rows 32] [--micro_batch_size 16] [--repeats 15] [-o step_parts.json]

BERT-mini's masked language modeling. The first way of each part is what train.py does. A part is measured by itself, in
turn with its other ways, because what it could save is less than the noise of a whole step; its share is of the step
that the first line measures: forward and backward passes of all rows, with the logits of all targets at once, clipping
and optimizer.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import AdamW
from transformers import PreTrainedModel

from benchmarks.side_by_side import add_output, in_turn, seconds, tell
from benchmarks.target_projection import make_batch, project_targets
from dlib.models.pretrained import draw_model, read_config
from dlib.objectives.chunked_loss import LOSS_CHUNK

Ways = Mapping[str, Callable[[], object]]
MAX_NORM = 1.0
EPSILON = 1e-12


@dataclass(frozen=True)
class Measured:
    """A way to do a part.

    Attributes:
        part: of a step.
        way: how it is done.
        ms: all that a step has of it, the median.
        share: of a step.
    """

    part: str
    way: str
    ms: float
    share: float


def step(model: PreTrainedModel, optimizer: AdamW, micro_batches: Sequence[Any]) -> None:
    """A whole optimizer step, which leaves its gradients to the parts that are measured next."""
    optimizer.zero_grad()
    for batch in micro_batches:
        project_targets(model, batch)
    clip_then_step(model, optimizer)


def on_threads(count: int, work: Callable[[], object]) -> None:
    """Do some work with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    work()
    torch.set_num_threads(before)


def clip_then_step(model: nn.Module, optimizer: AdamW) -> None:
    """The norm, a product for each gradient, the update: three passes over the gradients."""
    clip_grad_norm_(model.parameters(), MAX_NORM)
    optimizer.step()


def step_and_clip(model: nn.Module, optimizer: Any) -> None:
    """The same in two passes: the fused kernel divides each gradient itself, as it does for a loss scale."""
    norm = get_total_norm([each.grad for each in model.parameters() if each.grad is not None])
    optimizer.grad_scale, optimizer.found_inf = (norm / MAX_NORM).clamp(min=1), torch.tensor(0.0)
    optimizer.step()
    del optimizer.grad_scale, optimizer.found_inf


def normalize(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A layer norm (N, H) by torch's kernel."""
    return F.layer_norm(hidden, weight.shape, weight, bias, EPSILON)


def normalize_by_hand(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same of torch's elementary operations."""
    centred = hidden - hidden.mean(-1, keepdim=True)
    return centred * (centred.square().mean(-1, keepdim=True) + EPSILON).rsqrt() * weight + bias


def attend_by_hand(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention (B, heads, T, D) with its whole matrix."""
    scores: Tensor = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
    return scores @ value


def project_and_turn(hidden: Tensor, weight: Tensor) -> Tensor:
    """Logits (c, V) as `F.linear` has them, by the product that gives them as (V, c)."""
    return (weight @ hidden.T).T.contiguous()


def project(count: int, work: Callable[..., Tensor], hidden: Tensor, weight: Tensor) -> None:
    """Have the logits of hidden states (K, H) so many times, those of a chunk at a time."""
    with torch.no_grad():
        for part in hidden.split(LOSS_CHUNK["cpu"]) * count:
            work(part, weight)


def both_ways(count: int, work: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Do the forward and the backward pass of some work so many times."""
    for _ in range(count):
        output = work(*inputs)
        torch.autograd.grad(output, inputs, torch.ones_like(output))


def drawn(*shape: int) -> Tensor:
    """Random numbers that have a gradient."""
    return torch.randn(shape).requires_grad_()


def updates(model: PreTrainedModel) -> Iterator[tuple[str, Ways]]:
    """The parts that go over weights and gradients."""
    kinds: Mapping[str, Any] = {"fused": {"fused": True}, "foreach": {"foreach": True}, "a loop": {"foreach": False}}
    optimizers = {name: AdamW(model.parameters(), lr=0, **flags) for name, flags in kinds.items()}
    yield "AdamW", {name: optimizer.step for name, optimizer in optimizers.items()}
    clipped = {"norm, product, fused AdamW": clip_then_step, "norm, AdamW that divides": step_and_clip}
    yield (
        "clipping and AdamW",
        {name: partial(way, model, AdamW(model.parameters(), lr=0, fused=True)) for name, way in clipped.items()},
    )


def kernels(config: Any, rows: int, length: int, micro_batches: int) -> Iterator[tuple[str, Ways]]:
    """The parts of a layer, as often as a step has them."""
    layers, width, heads = config.num_hidden_layers, config.hidden_size, config.num_attention_heads
    norm = [drawn(rows * length, width), drawn(width), drawn(width)]
    count = micro_batches * (2 * layers + 1)  # two of a layer, and the embeddings'
    yield (
        "layer norms",
        {
            "torch's kernel": partial(both_ways, count, normalize, *norm),
            "by hand": partial(both_ways, count, normalize_by_hand, *norm),
        },
    )
    attention = [drawn(rows, heads, length, width // heads) for _ in range(3)]
    yield (
        "attention",
        {
            "torch's kernel": partial(both_ways, micro_batches * layers, F.scaled_dot_product_attention, *attention),
            "by hand": partial(both_ways, micro_batches * layers, attend_by_hand, *attention),
        },
    )
    targets = drawn(len(make_batch(rows, length, config.vocab_size)["targets"]), width)
    projection = drawn(config.vocab_size, width)
    yield (
        "logits by chunks",
        {
            "targets by weights": partial(project, micro_batches, F.linear, targets, projection),
            "weights by targets, turned": partial(project, micro_batches, project_and_turn, targets, projection),
        },
    )
    hidden, weight = drawn(rows * length, width), drawn(config.intermediate_size, width)
    turned = weight.detach().t().contiguous().t().requires_grad_()
    yield (
        "widening products",
        {
            "weights by output": partial(both_ways, micro_batches * layers, F.linear, hidden, weight),
            "weights by input": partial(both_ways, micro_batches * layers, F.linear, hidden, turned),
        },
    )


def measure(args: argparse.Namespace) -> Iterator[Measured]:
    """All parts in all ways."""
    config = read_config("configs/models/bert-mini", trust_remote_code=False)
    config.vocab_size = args.vocab_size
    model = draw_model("AutoModelForMaskedLM", config, trust_remote_code=False).train()
    count = args.rows // args.micro_batch_size
    batches = [make_batch(args.micro_batch_size, args.length, args.vocab_size) for _ in range(count)]
    whole = partial(step, model, AdamW(model.parameters(), fused=True), batches)
    threads = dict.fromkeys((torch.get_num_threads(), 1, 2 * torch.get_num_threads()))
    steps: tuple[str, Ways] = "a step", {f"threads: {number}": partial(on_threads, number, whole) for number in threads}
    usual = 0.0
    for part, ways in (steps, *updates(model), *kernels(config, args.micro_batch_size, args.length, count)):
        taken = in_turn({name: partial(seconds, way) for name, way in ways.items()}, args.repeats)
        medians = {name: statistics.median(each) for name, each in taken.items()}
        usual = usual or next(iter(medians.values()))
        yield from (Measured(part, name, value * 1e3, value / usual) for name, value in medians.items())


def table(rows: Sequence[Measured]) -> Iterator[str]:
    """A Markdown table."""
    yield "| part | way | ms | of a step |"
    yield "|---|---|---:|---:|"
    for row in rows:
        yield f"| {row.part} | {row.way} | {row.ms:,.1f} | {row.share:.1%} |"


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32, help="rows of a step (%(default)s)")
    parser.add_argument("--micro_batch_size", type=int, default=16, help="rows of a forward pass (%(default)s)")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row (%(default)s)")
    parser.add_argument("--vocab_size", type=int, default=30522, help="tokens of the vocabulary (%(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="measurements of each way (%(default)s)")
    add_output(parser)
    args = parser.parse_args(words)
    if args.micro_batch_size < 1 or args.rows % args.micro_batch_size:
        parser.error("--rows: give a multiple of --micro_batch_size")
    tell(list(measure(args)), args.output, table)


if __name__ == "__main__":
    main()
