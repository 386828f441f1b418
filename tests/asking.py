"""Toy models to be asked, saved as transformers saves them: drawn anew, with real tokenizers trained on the spot.

And `generate.py` on them, started as a user would, with files, pipes and terminals for its standard streams.
"""

import multiprocessing
import os
import runpy
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import transformers
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from dlib.models.tokenization import train_tokenizer
from tests.launching import PRELOADED, QUIET, ROOT, THREADS, TIMEOUT_SECONDS, Result, environment
from tests.toys import SENTENCES, SIZES, remove_dropout

POSITIONS = 48
SPREAD = 8.0
"""Weights times this: a model drawn anew finds all tokens about as likely, which shows no difference."""


def special_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What a configuration says of the tokenizer."""
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def save_model(folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, *, causal: bool) -> Path:
    """Save a model with drawn weights, and its tokenizer."""
    remove_dropout(config)
    torch.manual_seed(1)
    auto_model = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    model = auto_model.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= SPREAD
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_roberta(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A RoBERTa of 48 positions."""
    config = transformers.RobertaConfig(**SIZES, **special_ids(tokenizer), max_position_embeddings=POSITIONS + 2)
    return save_model(folder, config, tokenizer, causal=False)


def save_llama(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A Llama of 48 positions."""
    config = transformers.LlamaConfig(
        **SIZES, **special_ids(tokenizer), max_position_embeddings=POSITIONS, num_key_value_heads=1
    )
    return save_model(folder, config, tokenizer, causal=True)


def train_byte_level(folder: Path, objective: str, vocab_size: int = 400) -> PreTrainedTokenizerBase:
    """The tokenizer that `train.py` would train on a few sentences."""
    text = folder / "sentences.txt"
    text.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    return train_tokenizer(text, vocab_size, "strict", open_ended=objective == "clm")


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked model."""
    folder = tmp_path_factory.mktemp("roberta")
    return save_roberta(folder / "model", train_byte_level(folder, "mlm"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model."""
    folder = tmp_path_factory.mktemp("llama")
    return save_llama(folder / "model", train_byte_level(folder, "clm"))


def start_generate(arguments: list[str], stdin: Path, stdout: Path, stderr: Path) -> ForkServerProcess:
    """Start `generate.py` in a process forked from one that has imported the libraries, as `launching.start_warm` does.

    Args:
        arguments: the words after the script's name.
        stdin: what it reads: a file, a named pipe, or a terminal, which then becomes that of the process.
        stdout: what it writes results to, likewise.
        stderr: a file for its messages.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=generate_here, args=(arguments, stdin, stdout, stderr))
    with patch.dict(os.environ, {**THREADS, **QUIET}):
        process.start()
    return process


def generate(arguments: list[str], lines: bytes, scratch: Path) -> Result:
    """Run `generate.py` from a file into a file, to its end."""
    stdin, stdout, stderr = (scratch / name for name in ("stdin", "stdout", "stderr"))
    stdin.write_bytes(lines)
    for path in (stdout, stderr):
        path.write_bytes(b"")
    process = start_generate(arguments, stdin, stdout, stderr)
    process.join(TIMEOUT_SECONDS)
    assert process.exitcode is not None
    return Result(process.exitcode, stdout.read_text(encoding="utf-8"), stderr.read_text(encoding="utf-8"))


def generate_here(arguments: list[str], stdin: Path, stdout: Path, stderr: Path) -> None:
    """Make this process, forked for it, one that runs `generate.py` with these for its standard streams."""
    os.setsid()
    os.chdir(ROOT)
    os.environ.update(environment())
    for descriptor, path, mode in ((0, stdin, os.O_RDONLY), (1, stdout, os.O_WRONLY), (2, stderr, os.O_WRONLY)):
        os.dup2(os.open(path, mode), descriptor)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - for good
    sys.argv = ["generate.py", *arguments]
    runpy.run_path("generate.py", run_name="__main__")
