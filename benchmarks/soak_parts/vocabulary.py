"""A vocabulary of a million: does a run need more memory than its weights call for?

The peer is a bare loop in PyTorch with the same model and as many targets.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.soak_parts.processes import MEBIBYTE, Observed, observe
from benchmarks.soak_parts.row import Row
from benchmarks.soak_parts.workspace import failed

HIDDEN_SIZE, BYTES_A_NUMBER = 64, 4
MOST_TIMES = 2.0
"""The vocabulary, of which Python makes dictionaries while it is hashed, takes as much as weights of this width."""
BARE = """
import sys, torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForMaskedLM

folder, size, hidden_size, training = sys.argv[1], *map(int, sys.argv[2:])
config = AutoConfig.from_pretrained("configs/models/roberta-tiny")
config.vocab_size, config.hidden_size, config.num_hidden_layers = size, hidden_size, 1
model = AutoModelForMaskedLM.from_config(config)
optimizer = torch.optim.AdamW(model.parameters())
torch.set_grad_enabled(bool(training))
for step in range(6):
    hidden = model.base_model(torch.randint(5, size, (2, 32)))[0]
    loss = cross_entropy(model.lm_head(hidden[:, :5]).flatten(0, 1), torch.randint(5, size, (10,)))
    if training:
        loss.backward()
    if training and step % 2:
        optimizer.step()
        optimizer.zero_grad()
if training:
    model.save_pretrained(folder)
"""
"""The least that any program does: two rows at a time, two of these a step, a sixth of the tokens predicted."""
SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}


def measure(count: int, root: Path) -> Iterator[Row]:
    """Train and evaluate, and let the peer do so.

    Args:
        count: number of tokens.
        root: folder for the run.
    """
    write_data(root, count)
    yield Row("weights of the embedding, MiB", HIDDEN_SIZE * count * BYTES_A_NUMBER / MEBIBYTE)
    for name, ours, is_training in (("train.py", train(root), 1), ("eval.py", evaluate(root), 0)):
        sizes = [str(count), str(HIDDEN_SIZE), str(is_training)]
        peer = observe(["-c", BARE, str(root / "bare"), *sizes])
        ratio = ours.peak_bytes / peer.peak_bytes
        detail = f"{ours.peak_bytes / MEBIBYTE:,.0f} MiB, and {peer.peak_bytes / MEBIBYTE:,.0f}"
        problem = failed(ours) or failed(peer) or ("too much" if ratio > MOST_TIMES else None)
        yield Row(f"{name}, times a bare loop's memory", ratio, detail, problem)
        yield Row(f"{name}, seconds", ours.seconds, f"the bare loop: {peer.seconds:.1f}")


def train(folder: Path) -> Observed:
    """Train ten steps, and evaluate and save twice."""
    model = ["--model", "configs/models/roberta-tiny", "--from_scratch", "--tokenizer", str(folder / "tokenizer")]
    shape = ["--model_overrides", f"hidden_size={HIDDEN_SIZE}", "num_hidden_layers=1", "--max_length", "32"]
    goal = "-n large -b 4 --micro_batch_size 2 --training_goal 10 --save_interval 5 --eval_interval 5 --num_workers 1"
    where = ["-d", str(folder), "--out_dir", str(folder / "runs"), "--offline", "--trackers", "none"]
    return observe(["train.py", *model, *shape, *goal.split(), *where, *places(folder)])


def evaluate(folder: Path) -> Observed:
    """Evaluate what came of it."""
    return observe(["eval.py", str(folder / "runs" / "large"), *places(folder)])


def places(folder: Path) -> list[str]:
    """Where both programs work."""
    return ["--cache_dir", str(folder / "cache"), "--accelerator", "cpu"]


def write_data(folder: Path, size: int) -> None:
    """A tokenizer of so many words, and a short text of such words."""
    write_tokenizer(folder / "tokenizer", size)
    randomness = random.Random(1)
    for name, num_lines in (("train.txt", 1000), ("dev.txt", 20)):
        lines = (" ".join(f"w{randomness.randrange(size - len(SPECIAL))}" for _ in range(20)) for _ in range(num_lines))
        (folder / name).write_text("".join(f"{line}\n" for line in lines))


def write_tokenizer(folder: Path, size: int) -> None:
    """A tokenizer of so many words: `w0`, `w1` and so on, and the special ones."""
    words = [*SPECIAL.values(), *(f"w{number}" for number in range(size - len(SPECIAL)))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder.mkdir(parents=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL).save_pretrained(folder)
