"""How fast eval.py evaluates, beside a plain loop in torch that computes the same sums.

python -m benchmarks.evaluation [--lines 500] [--batch_size 32] [--repeats 5] [-o FILE]

Ours is all that happens between a loaded model with its tokenized text and the numbers: reading rows, masking them,
batches, the network, sums. The plain loop has the same batches as tensors from the beginning, so that it has nothing to
do but the network, at the positions that are predicted alone, and the sums: no loop with the same batches can do less.
Where ours takes rows of like length, as it does for a run with --max_tokens_per_batch, the plain loop has the rows in
their order as before.
(For clm with a line a row, ours also tells in how many rows all tokens are predicted.)
The model is drawn and not trained.
"""

import argparse
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.drawn_models import LONGEST_LINE, SHORTEST_LINE, build_tokenizer, draw_for, draw_lines
from benchmarks.side_by_side import Comparison, add_output, compare, tell
from dlib.data.steps import EvaluationBatches
from dlib.measuring.checkpoint_evaluation import CheckpointEvaluation
from dlib.measuring.flags import parse_order
from dlib.measuring.processes import Processes
from dlib.measuring.subjects import find_subjects
from dlib.objectives.objective import Batch
from dlib.training.devices import find_devices

HEADS = {"mlm": "AutoModelForMaskedLM", "clm": "AutoModelForCausalLM"}
LINES = ("--line_by_line",)
OF_LIKE_LENGTH = "a line a row, of like length"
ROWS: dict[str, tuple[str, ...]] = {"packed": (), "a line a row": LINES, OF_LIKE_LENGTH: LINES}
"""Flags of eval.py."""
ROUNDING = 1e-6


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlm", default="configs/models/roberta-mini", help="folder of a masked language model")
    parser.add_argument("--clm", default="configs/models/gpt2-mini", help="folder of a causal one")
    parser.add_argument("--vocab_size", type=int, default=8192, help="words of the tokenizer")
    parser.add_argument("--lines", type=int, default=500, help="lines of the text")
    parser.add_argument("--length", type=int, default=128, help="most tokens of a row")
    parser.add_argument("--batch_size", type=int, default=32, help="rows that are computed together")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each way")
    add_output(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(compare_all(args, Path(folder)))
    print(f"{args.lines} lines of {SHORTEST_LINE} to {LONGEST_LINE} words; batches of {args.batch_size} rows")
    tell(rows, args.output)


def compare_all(args: argparse.Namespace, root: Path) -> Iterator[Comparison]:
    """Evaluate a model of each objective on each kind of rows."""
    tokenizer = build_tokenizer(args.vocab_size)
    root.joinpath("dev.txt").write_text("\n".join([*draw_lines(args.lines, args.vocab_size), ""]))
    for objective, head in HEADS.items():
        folder = root / objective
        draw_for(tokenizer, getattr(args, objective), head).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for name, flags in ROWS.items():
            sizes = ["--eval_batch_size", str(args.batch_size), "--max_length", str(args.length)]
            where = ["-d", str(root), "--cache_dir", str(root / "cache"), "--accelerator", "cpu"]
            evaluation, subject = load([str(folder), "--objective", objective, *flags, *sizes, *where])
            if name == OF_LIKE_LENGTH:
                evaluation.args.batch.max_tokens_per_batch = args.batch_size * args.length
            yield compare_one(f"{objective}, {name}", (evaluation, subject), args)


def load(words: Sequence[str]) -> tuple[CheckpointEvaluation, Any]:
    """What eval.py loads for a command line, and the evaluation that it is for."""
    order = parse_order(words)
    [subject] = find_subjects(order.targets[0], order)
    devices = find_devices(subject.evaluation.args.hardware)
    return CheckpointEvaluation(subject, Processes(devices)), subject.evaluation


def compare_one(name: str, loaded: tuple[CheckpointEvaluation, Any], args: argparse.Namespace) -> Comparison:
    """Evaluate in both ways."""
    evaluation, subject = loaded
    evaluation.model.config.use_cache = False  # for the plain loop: ours says so itself
    rows, store = evaluation.read(subject.text, subject.order.split)
    batches = EvaluationBatches(rows, evaluation.objective, args.batch_size, 0, 1)
    ready = [batches[index][0] for index in range(len(batches))]
    loss = evaluation.evaluate(evaluation.objective, rows, store)["loss"]
    same = math.isclose(loss, plain_loss(evaluation.model, ready), rel_tol=ROUNDING)
    return compare(
        name,
        "a plain loop",
        lambda: evaluation.evaluate(evaluation.objective, rows, store),
        lambda: plain_loss(evaluation.model, ready),
        sum(batch["input_ids"].numel() for batch in ready),
        "tokens",
        args.repeats,
        same,
    )


@torch.no_grad()
def plain_loss(model: Any, batches: Sequence[Batch]) -> float:
    """Mean loss of the target tokens; how many are predicted is counted on the way."""
    loss, targets, correct = 0.0, 0, 0
    for batch in batches:
        hidden = model.base_model(batch["input_ids"], attention_mask=batch.get("attention_mask"))[0]
        logits = model.lm_head(hidden.flatten(0, 1)[batch["target_positions"]])
        loss += float(F.cross_entropy(logits, batch["targets"], reduction="none").double().sum())
        correct += int((logits.argmax(-1) == batch["targets"]).sum())
        targets += len(batch["targets"])
    assert 0 <= correct <= targets
    return loss / targets


if __name__ == "__main__":
    main()
