"""Hugging Face names and folders: working offline, and errors that say what to do."""

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from dlib.errors import UserError

HUB_ANSWER_SECONDS = 5.0
"""How long to wait for the hub's first answer. Its own client tries for 23 s, three times over."""


def choose_hub_mode(names: Iterable[str | None], offline: bool) -> None:
    """Keep the Hugging Face libraries off the network where it is unwanted, unneeded or out of reach.

    They read their settings when they are imported; where that has happened, they are told again.

    Args:
        names: the Hugging Face names and local folders that will be loaded.
        offline: whether the user asked for no network.
    """
    is_remote = any(name is not None and not Path(name).is_dir() for name in names)
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
def explain_loading(flag: str, name: str) -> Iterator[None]:
    """Turn what transformers raises when `name` cannot be loaded into one line that names `flag`.

    Raises:
        UserError: the block raised an error of loading.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # transformers raises whatever a model's own code raises
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if Path(name).is_dir():
            raise UserError(f"{flag} {name} cannot be loaded: {reason}") from error
        if looks_like_path(name):
            raise UserError(f"{flag} {name}: there is no such folder") from error
        if is_unreachable(error):
            raise UserError(
                f"{flag} {name} is not in the local cache and the hub cannot be reached; "
                "give a local folder, or train a new model: --model configs/models/roberta-mini --from_scratch"
            ) from error
        raise UserError(f"{flag} {name} cannot be loaded: {reason}") from error


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
