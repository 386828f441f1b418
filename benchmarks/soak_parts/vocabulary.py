"""A vocabulary of a million: does a run need more memory than its weights call for?

The peer is the same run with a vocabulary of a thousand; what it takes is what libraries and data need.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.soak_parts.processes import MEBIBYTE, Observed, observe
from benchmarks.soak_parts.row import Row
from benchmarks.soak_parts.workspace import failed

SMALL_VOCABULARY = 1000
HIDDEN_SIZE, BYTES_A_NUMBER = 64, 4
TARGETS = 2 * 5
"""Of a micro-batch of two rows of 32 tokens, 15 % of them."""
TRAINING_COPIES, TARGET_COPIES = 4, 4
"""Weights, gradients and AdamW's two means; logits, their gradients, and what a softmax takes."""
MOST_TIMES = 1.5
SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}


def measure(count: int, root: Path) -> Iterator[Row]:
    """Train and evaluate with both vocabularies.

    Args:
        count: number of tokens of the large one.
        root: folder for both runs.
    """
    small, large = (run(root / str(size), size) for size in (SMALL_VOCABULARY, count))
    number_bytes = count * BYTES_A_NUMBER
    needed = {
        "train.py": (TRAINING_COPIES * HIDDEN_SIZE + TARGET_COPIES * TARGETS) * number_bytes,
        "evaluate.py": (HIDDEN_SIZE + TARGET_COPIES * TARGETS) * number_bytes,
    }
    yield Row("weights of the embedding, MiB", HIDDEN_SIZE * number_bytes / MEBIBYTE)
    for name, needed_bytes in needed.items():
        taken = large[name].peak_bytes - small[name].peak_bytes
        detail = f"{needed_bytes / MEBIBYTE:,.0f} are needed, {taken / needed_bytes:.2f} times that are taken"
        problem = failed(large[name]) or ("too much" if taken > MOST_TIMES * needed_bytes else None)
        yield Row(f"{name}, memory more than with {SMALL_VOCABULARY:,}, MiB", taken / MEBIBYTE, detail, problem)
        seconds = large[name].seconds
        yield Row(f"{name}, seconds", seconds, f"{SMALL_VOCABULARY:,} tokens: {small[name].seconds:.1f}")


def run(folder: Path, size: int) -> dict[str, Observed]:
    """Train a few steps with a tokenizer of so many words, and evaluate what came of it."""
    write_tokenizer(folder / "tokenizer", size)
    randomness = random.Random(1)
    for name, count in (("train.txt", 1000), ("dev.txt", 20)):
        lines = (" ".join(f"w{randomness.randrange(size - len(SPECIAL))}" for _ in range(20)) for _ in range(count))
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    places = ["--cache_dir", str(folder / "cache"), "--accelerator", "cpu"]
    model = ["--model", "configs/models/roberta-tiny", "--from_scratch", "--tokenizer", str(folder / "tokenizer")]
    shape = ["--model_overrides", f"hidden_size={HIDDEN_SIZE}", "num_hidden_layers=1", "--max_length", "32"]
    goal = "-n large -b 4 --micro_batch_size 2 --training_goal 10 --save_interval 5 --eval_interval 5 --num_workers 1"
    where = ["-d", str(folder), "--out_dir", str(folder / "runs"), "--offline", "--trackers", "none"]
    trained = observe(["train.py", *model, *shape, *goal.split(), *where, *places])
    return {"train.py": trained, "evaluate.py": observe(["evaluate.py", str(folder / "runs" / "large"), *places])}


def write_tokenizer(folder: Path, size: int) -> None:
    """A tokenizer of so many words: `w0`, `w1` and so on, and the special ones."""
    words = [*SPECIAL.values(), *(f"w{number}" for number in range(size - len(SPECIAL)))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder.mkdir(parents=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL).save_pretrained(folder)
