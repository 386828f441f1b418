"""How much time it saves to project target tokens alone onto the vocabulary.

python -m benchmarks.target_projection [--model configs/models/roberta-mini] [--repeats 7]

The peer is the usual way, in the same process and alternating with ours: the model's own loss over all positions, with
-100 where there is no target. Both do a forward and a backward pass of one masked batch (B, T) with 15 % targets.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from transformers import PreTrainedModel

from benchmarks.side_by_side import in_turn
from dlib.models.pretrained import draw_model, read_config
from dlib.objectives.token_prediction import Batch, predict_targets

TARGET_SHARE = 0.15
NO_TARGET = -100


def make_batch(rows: int, length: int, vocab_size: int) -> Batch:
    """Random tokens (B, T) with evenly spread targets (K,)."""
    positions = torch.arange(0, rows * length, round(1 / TARGET_SHARE))
    input_ids = torch.randint(5, vocab_size, (rows, length))
    return {"input_ids": input_ids, "target_positions": positions, "targets": input_ids.flatten()[positions]}


def project_targets(model: PreTrainedModel, batch: Batch) -> None:
    """Our way."""
    torch.nn.functional.cross_entropy(predict_targets(model, batch), batch["targets"]).backward()


def project_everything(model: PreTrainedModel, batch: Batch) -> None:
    """The usual way."""
    labels = torch.full_like(batch["input_ids"], NO_TARGET).flatten()
    labels[batch["target_positions"]] = batch["targets"]
    model(input_ids=batch["input_ids"], labels=labels.view_as(batch["input_ids"])).loss.backward()


def seconds(step: Callable[[PreTrainedModel, Batch], None], model: PreTrainedModel, batch: Batch) -> float:
    """How long one pass takes."""
    started = time.perf_counter()
    step(model, batch)
    model.zero_grad()
    return time.perf_counter() - started


def main() -> None:
    """Print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="configs/models/roberta-mini", help="folder of a masked language model")
    parser.add_argument("--vocab_size", type=int, default=32768, help="number of tokens in the vocabulary")
    parser.add_argument("--rows", type=int, default=8, help="rows in the batch")
    parser.add_argument("--length", type=int, default=128, help="tokens in a row")
    parser.add_argument("--repeats", type=int, default=7, help="passes of each way")
    args = parser.parse_args()
    config = read_config(args.model, trust_remote_code=False)
    config.vocab_size = args.vocab_size
    model = draw_model("AutoModelForMaskedLM", config, trust_remote_code=False).train()
    batch = make_batch(args.rows, args.length, args.vocab_size)
    ways = {way.__name__: partial(seconds, way, model, batch) for way in (project_targets, project_everything)}
    ours, usual = map(statistics.median, in_turn(ways, args.repeats).values())
    print(f"{args.model}, {args.rows} x {args.length} tokens, {args.vocab_size} in the vocabulary")
    print(f"usual / ours: {usual / ours:.2f} x the time (medians of {args.repeats})")


if __name__ == "__main__":
    main()
