"""What the benchmarks ask and evaluate: models with new weights, a tokenizer of words, lines of many lengths."""

import random
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.soak_parts.vocabulary import write_tokenizer
from dlib.models.pretrained import draw_model, read_config

SHORTEST_LINE, LONGEST_LINE = 4, 60
"""Words of a line, between which all lengths are as likely."""


def build_tokenizer(vocab_size: int) -> PreTrainedTokenizerBase:
    """A tokenizer of so many words, the special ones among them."""
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder, "tokenizer"), vocab_size)
        return cast(
            PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(Path(folder, "tokenizer"), trust_remote_code=False)
        )


def draw_for(tokenizer: PreTrainedTokenizerBase, folder: str, head: str) -> PreTrainedModel:
    """A model with new weights, in evaluation mode, as a folder describes it but for its tokens.

    Args:
        tokenizer: its own.
        folder: with a config.json.
        head: name of the transformers class that draws it.
    """
    config: Any = read_config(folder, trust_remote_code=False)
    config.vocab_size = len(tokenizer)
    for role in ("bos", "eos", "pad"):
        setattr(config, f"{role}_token_id", getattr(tokenizer, f"{role}_token_id"))
    torch.manual_seed(1)
    return draw_model(head, config, trust_remote_code=False).eval()


def draw_lines(count: int, vocab_size: int, extra: str = "") -> list[str]:
    """Lines of words of a tokenizer, with one more word somewhere in each."""
    randomness, lines = random.Random(1), []
    for _ in range(count):
        length = randomness.randint(SHORTEST_LINE, LONGEST_LINE)
        words = [f"w{randomness.randrange(vocab_size // 2)}" for _ in range(length)]
        words.insert(randomness.randrange(length), extra)
        lines.append(" ".join(filter(None, words)))
    return lines
