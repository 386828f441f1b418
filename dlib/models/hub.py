"""Hugging Face names and folders: working offline, and errors that say what to do."""

import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from dlib.args.tables import MODELS
from dlib.process.errors import UserError
from dlib.process.versions import explain_attention, explain_model_type, explain_newer_files

HUB_ANSWER_SECONDS = 5.0
"""How long to wait for the hub's first answer. Its own client tries for 23 s, three times over."""

UNKNOWN_HEAD = re.compile(
    r"Unrecognized configuration class <class '[\w.]*?(?P<config>\w+)'> for this kind of AutoModel: "
    r"(?P<auto_model>\w+)"
)

UNKNOWN_TYPE = re.compile(r"The checkpoint you are trying to load has model type `(?P<model_type>[\w-]+)` but ")
FOREIGN_CODE = re.compile(r".*trust_remote_code=True", re.DOTALL)
NO_PACKAGE = re.compile(r"FlashAttention.* cannot be used due to the following error: (?P<reason>.*)")
NO_ATTENTION = re.compile(
    r"(?P<model>\w+) does not support .*?(?P<kernel>Flash Attention|flex_attention|scaled_dot_product_attention)"
)


def choose_hub_mode(names: Iterable[str | None], offline: bool) -> None:
    """Keep the Hugging Face libraries off the network where it is unwanted (`offline`), unneeded or out of reach.

    They read their settings when they are imported; where that has happened, they are told again.
    """
    is_remote = any(name is not None and name not in MODELS and not Path(name).is_dir() for name in names)
    if offline or not is_remote or not hub_answers():
        os.environ["HF_HUB_OFFLINE"] = "1"
        if "huggingface_hub.constants" in sys.modules:
            sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


def hub_answers() -> bool:
    """Whether a connection to the hub (or to the proxy, which is taken at its word) can be opened."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    hub = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    port = hub.port or (80 if hub.scheme == "http" else 443)
    try:
        with socket.create_connection((hub.hostname or "", port), timeout=HUB_ANSWER_SECONDS):
            return True
    except OSError:
        return False


@contextmanager
def explain_loading(flag: str, name: str, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Turn what transformers raises when `name` cannot be loaded into one line that names `flag`.

    `--model_overrides` are to blame where a model that they change cannot be built.

    Raises:
        UserError: the block raised an error of loading.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # transformers raises whatever a model's own code raises
        reason = reason_of(error)
        if FOREIGN_CODE.match(str(error)):
            raise UserError(
                f"{flag} {name} brings Python code of its own, which is not run: read it, then give --trust_remote_code"
            ) from error
        if lacking := NO_PACKAGE.match(reason):
            raise UserError(f"--attn_implementation: {lacking['reason'].rstrip('.')}; leave it out") from error
        if foreign := UNKNOWN_HEAD.match(reason):
            raise UserError(
                f"{flag} {name}: {foreign['config'].removesuffix('Config')} has no head of the kind "
                f"{foreign['auto_model']}; choose another --model or another --objective"
            ) from error
        if newer := UNKNOWN_TYPE.match(reason):
            raise UserError(f"{flag} {name}: {explain_model_type(**newer.groupdict())}") from error
        if lacking := NO_ATTENTION.match(reason):
            place = "--attn_implementation" if flag == "--model" else f"{flag} {name}"
            raise UserError(f"{place}: {explain_attention(**lacking.groupdict())}") from error
        if name in MODELS:  # who wrote it needs the traceback
            raise
        if overrides:
            raise UserError(f"--model_overrides {' '.join(overrides)}: {name} cannot be built so: {reason}") from error
        if Path(name).is_dir():
            raise UserError(
                f"{flag} {name} cannot be loaded: {reason.rstrip('.')}{explain_newer_files(Path(name))}"
            ) from error
        if is_unreachable(error):
            train = ", or train a new model: --model configs/models/roberta-mini --from_scratch"
            advice = f"a local folder{train}" if flag.startswith("--") else "a run, a checkpoint or a local folder"
            raise UserError(
                f"{flag} {name} is not in the local cache, and the hub is not asked or does not answer: "
                f"check the name, or give {advice}"
            ) from error
        raise UserError(f"{flag} {name} cannot be loaded: {reason}") from error


def reason_of(error: Exception) -> str:
    """The first line of an error's message, and the next where the first only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    for line in lines[1:]:
        if not reason.endswith(":"):
            break
        reason = f"{reason} {line}"
    return f"{type(error).__name__}: {reason}" if lines and isinstance(error, KeyError) else reason


def looks_like_path(name: str) -> bool:
    """Whether a name can only be meant as a local path: hub names are `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def is_unreachable(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that the hub was not asked or did not answer."""
    words = ("offline", "connect", "cached files", "connection", "timed out", "max retries")
    cause: BaseException | None = error
    while cause is not None:
        if any(word in str(cause).lower() for word in words):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
