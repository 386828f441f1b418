"""How the versions of the libraries differ: no other module asks for one.

pyproject.toml allows the versions of years, and `scripts/test.sh --oldest` runs with the oldest of them. What they
cannot do is refused in one line. Nothing heavy is imported here.
"""

import atexit
import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dlib.process.errors import UserError

Needs = Mapping[str, str]
"""The first version, by package, that has something."""

ATTENTION: dict[str, Needs] = {
    "sdpa": {"torch": "2.1.1"},
    "flash_attention_3": {"transformers": "4.53"},
    "flex_attention": {"transformers": "4.47", "torch": "2.5"},
}
"""What a value of `--attn_implementation` needs that the lower bounds of pyproject.toml do not have."""

ATTENTION_OF: dict[tuple[str, str], Needs] = {
    ("sdpa", "gpt2"): {"transformers": "4.42"},
    ("sdpa", "roberta"): {"transformers": "4.45"},
}
"""What it needs for a model type of the shipped shapes. Of others, transformers says itself that they have it not."""

OPTIMIZERS: dict[str, Needs] = {"adafactor": {"torch": "2.5"}, "muon": {"torch": "2.9"}}
"""The first torch that has an optimizer."""

STRATEGIES: dict[str, Needs] = {"fsdp": {"torch": "2.13"}}
"""The first torch that has what a strategy asks of it."""

COMPILE: dict[tuple[int, int], str] = {(3, 11): "2.1", (3, 12): "2.4", (3, 13): "2.6", (3, 14): "2.10"}
"""The first torch that compiles on a version of Python."""

MODEL_TYPES: dict[str, Needs] = {"modernbert": {"transformers": "4.48"}}
"""Model types of the shipped shapes that came later than the lower bounds."""

CONFIG_FIELDS: dict[str, Needs] = {"rope_parameters": {"transformers": "5.0"}}
"""Fields of a model's configuration that earlier versions pass over without a word, to compute something else."""


@cache
def release(package: str) -> tuple[int, ...]:
    """The installed release of a package: (2, 0, 1) for 2.0.1+cpu."""
    return parse_release(version(package))


def parse_release(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    return tuple(int(number) for number in re.split(r"[^\d.]|\.(?!\d)", text, maxsplit=1)[0].split("."))


def has(needs: Needs) -> bool:
    """Whether all these packages are installed in these versions or later ones."""
    return missing(needs) is None


def missing(needs: Needs) -> str | None:
    """Which version is needed and which is installed, in words; None where nothing is missing."""
    for package, first in needs.items():
        if release(package) < parse_release(first):
            return f"needs {package} {first} or later, and {version(package)} is installed"
    return None


def refuse_missing(kernel: str | None, optimizer: str, *, compiles: bool, strategy: str = "auto") -> None:
    """Refuse what the installed versions cannot do, before anything is built."""
    python = sys.version_info[:2]
    if reason := missing(ATTENTION.get(kernel or "", {})):
        raise UserError(f"--attn_implementation {kernel} {reason}; leave it out, or give another")
    if reason := missing(OPTIMIZERS.get(optimizer, {})):
        raise UserError(f"--optimizer {optimizer} {reason}; choose another")
    if reason := missing(STRATEGIES.get(strategy, {})):
        raise UserError(f"--distributed_strategy {strategy} {reason}; choose another")
    if compiles and (reason := missing({"torch": COMPILE[python]} if python in COMPILE else {})):
        raise UserError(f"--compile on Python {python[0]}.{python[1]} {reason}; leave it out")


def refuse_attention_on(accelerator: str, kernel: str | None) -> None:
    """Refuse to train with an attention kernel that computes no gradients on such a device."""
    if accelerator == "cpu" and kernel == "flex_attention":
        raise UserError(f"--attn_implementation {kernel} computes no gradients on a CPU; leave it out, or give another")


def refuse_missing_attention(kernel: str, model_type: str) -> None:
    """Refuse an attention kernel that the installed transformers does not have for a model of that type."""
    if reason := missing(ATTENTION_OF.get((kernel, model_type), {})):
        raise UserError(f"--attn_implementation {kernel} for {model_type} {reason}; leave it out, or give another")


def refuse_unread_fields(source: str, fields: Iterable[str]) -> None:
    """Refuse a model whose config.json has `fields` that the installed transformers would silently ignore."""
    for field in fields:
        if reason := missing(CONFIG_FIELDS.get(field, {})):
            raise UserError(f"--model {source}: {field} in its config.json {reason}")


def explain_newer_files(folder: Path) -> str:
    """The end of the error for a model's folder that a later transformers wrote; else nothing."""
    try:
        writer = str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["transformers_version"])
        reason = missing({"transformers": writer})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f"; it was written by transformers {writer}, and {version('transformers')} is installed" if reason else ""


def tokenizer_series() -> list[int]:
    """The versions that decide whether tokenizer files can be read."""
    return [release("transformers")[0], *release("tokenizers")[:2]]


def explain_model_type(model_type: str) -> str:
    """Why a model of that type cannot be loaded: the installed transformers does not know it."""
    reason = missing(MODEL_TYPES.get(model_type, {}))
    return f"its model type, {model_type}, " + (
        reason or f"is none that transformers {version('transformers')} knows; a later version may"
    )


def explain_attention(model: str, kernel: str) -> str:
    """Why a class of models cannot have the attention kernel that was asked for."""
    return f"transformers {version('transformers')} does not have {kernel} for {model}; leave it out, or give another"


def dtype_option(dtype: Any) -> dict[str, Any]:
    """The keyword argument of transformers for the type of a model's weights, by its name there."""
    return {"dtype" if has({"transformers": "4.56"}) else "torch_dtype": dtype}


def fused_devices() -> tuple[str, ...]:
    """The kinds of device that torch's AdamW has a fused kernel for."""
    return ("cuda", "cpu") if has({"torch": "2.4"}) else ("cuda",)


def unescapes_missing_mark() -> bool:
    """Whether OmegaConf takes the backslash from a text `\\???`, as it does from one with `\\${`."""
    return has({"omegaconf": "2.4"})


def has_wandb_login(wandb: Any) -> bool:
    """Whether W&B finds a key in the environment, netrc or its settings. It uses no network and asks no question."""
    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)  # the way of older versions; newer ones deprecate it


def forget_wandb_service(wandb: Any) -> None:
    """Remove the exit hook of old versions (0.16), which waits without limit; newer ones keep to our limit."""
    hook = getattr(getattr(wandb.setup(), "_manager", None), "_atexit_lambda", None)
    if hook is not None:
        atexit.unregister(hook)
