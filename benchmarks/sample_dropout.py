"""What it would cost to draw dropout by sample, with a key of its own each, in place of by micro-batch.

python -m benchmarks.sample_dropout [--rows 32] [--length 128] [--attention 0.0] [--repeats 15]

Then the split of a step into micro-batches would be no part of a run. The peer is torch's own dropout, in the same
process and alternating: a forward and a backward pass of BERT-mini's masked language modeling. By sample, each row of
each mask is drawn from the generator of its row. Dropout inside attention (--attention 0.1, as BERT has it) cannot be
drawn so in a fused kernel: there the peer keeps the kernel and the other way computes attention step by step.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from benchmarks.side_by_side import in_turn
from benchmarks.target_projection import make_batch, project_targets, seconds
from dlib.models.pretrained import draw_model, read_config
from dlib.objectives.objective import Batch
from dlib.process.seeding import derive_key


@contextmanager
def dropout_by_sample(rows: int) -> Iterator[None]:
    """Within it, torch.nn.functional.dropout draws the mask of each row (B, ...) from a generator of the row's."""
    generators = [torch.Generator() for _ in range(rows)]
    for number, generator in enumerate(generators):
        generator.manual_seed(derive_key("dropout", 1, 0, number))

    def drop(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return values
        mask = torch.empty_like(values)
        for row, generator in zip(mask, generators, strict=True):
            row.bernoulli_(1 - p, generator=generator)
        return values * mask.div_(1 - p)

    with patch.object(functional, "dropout", drop):
        yield


def by_sample(model: PreTrainedModel, batch: Batch) -> None:
    """A pass with a generator a row."""
    with dropout_by_sample(len(batch["input_ids"])):
        project_targets(model, batch)


def build(attention: float, kernel: str) -> PreTrainedModel:
    """BERT-mini with a vocabulary of BERT's size."""
    config = read_config("configs/models/bert-mini", trust_remote_code=False)
    config.vocab_size, config.attention_probs_dropout_prob = 30522, attention
    model = draw_model("AutoModelForMaskedLM", config, trust_remote_code=False, attn_implementation=kernel)
    return model.train()


def main(words: Sequence[str] | None = None) -> None:
    """Print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32, help="rows of a micro-batch (%(default)s)")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row (%(default)s)")
    parser.add_argument("--attention", type=float, default=0.0, help="dropout inside attention (%(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="passes of each way (%(default)s)")
    args = parser.parse_args(words)
    usual = build(args.attention, "sdpa")
    other = build(args.attention, "eager" if args.attention else "sdpa")
    batch = make_batch(args.rows, args.length, usual.config.vocab_size)
    ways = {
        "micro-batch": partial(seconds, project_targets, usual, batch),
        "sample": partial(seconds, by_sample, other, batch),
    }
    by_batch, by_row = map(statistics.median, in_turn(ways, args.repeats).values())
    print(f"BERT-mini, {args.rows} x {args.length} tokens, dropout in attention {args.attention:g}")
    print(f"by sample / by micro-batch: {by_row / by_batch:.3f} x the time (medians of {args.repeats})")


if __name__ == "__main__":
    main()
