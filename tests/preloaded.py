"""What the server of `launching.py` does once, so that no process which it forks has to.

It imports the libraries and all of `dlib`, saves a model, for which transformers compiles a thousand patterns, and
parses a command line, for which simple-parsing reads the source of all arguments. It runs no backward pass, whose
threads would not outlive a fork. The collector passes over all that is there by then: else each process would go
through a million objects, which is half of what a short run costs, and copy their pages.
"""

import gc
import importlib
import pkgutil
import tempfile
from contextlib import suppress

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import dlib
from dlib.config.configuration import parse_args

CALLED = ("tests.launching", "tests.exactness.ranks", "tests.asking")
"""Modules whose functions are called in its processes; the server of a copy of the tree finds those of the copy."""
SHIPPED_MODELS = ("roberta", "modernbert", "gpt2", "llama")

for name in CALLED:
    importlib.import_module(name)
for name in SHIPPED_MODELS:
    with suppress(ImportError):  # an old transformers has no modernbert
        importlib.import_module(f"transformers.models.{name}.modeling_{name}")
for module in pkgutil.walk_packages(dlib.__path__, "dlib."):
    importlib.import_module(module.name)
# No GPU's state is looked at: CUDA would begin here, and could not in a process that is forked from this one.
with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
    GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=8, n_embd=8, n_layer=1, n_head=1)).save_pretrained(folder)
parse_args(["--name", "preloaded"], description="")
gc.collect()
gc.freeze()
