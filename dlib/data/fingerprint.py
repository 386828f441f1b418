"""The name of a token store: a hash of everything that its content depends on, and of nothing else.

It stands apart because a name that misses something makes a run read another text's tokens, and a name
that covers too much tokenizes the same text again and again.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlib.data.formats import folder_name
from dlib.data.pairs import files_of
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.shards import shards_of
from dlib.data.text import require_text
from dlib.process.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STORE_FORMAT = 1
"""Raised whenever the same text and tokenizer give other files."""

SETTLED_NANOSECONDS = 2_000_000_000


@dataclass(frozen=True)
class Recipe:
    """All that the content of a token store depends on."""

    text_sha256: str  # of the text's bytes, see `text_sha256`
    tokenizer_sha256: str  # of the tokenizer, see `tokenizer_sha256`
    separator_id: int  # stands after each sequence of a document
    encoding_errors: str  # "strict", "replace" or "ignore"
    store_format: int = STORE_FORMAT  # version of the store's files
    sequences: Sequence[str] = TEXT_ONLY.sequences  # see `Columns`
    fields: Sequence[str] = TEXT_ONLY.fields  # see `Columns`
    reader_sha256: str = ""  # of the code that reads the format, see `reader_sha256`
    optional: Sequence[str] = ()  # see `Columns`
    lists: Sequence[str] = ()  # see `Columns`
    offsets: Sequence[str] = ()  # see `Columns`
    keys: Mapping[str, str] = field(default_factory=dict)  # see `Columns`
    kept: str = ""  # which documents stay, see `Filter.content`; empty: all

    @property
    def columns(self) -> Columns:
        """What is read of each document."""
        names = self.sequences, self.fields, self.optional, self.lists, self.offsets
        return Columns(*map(tuple, names), keys=self.keys)

    @property
    def content(self) -> dict[str, Any]:
        """As plain data. What is usual goes without saying, so that older caches are found again."""
        content = asdict(self)
        if self.columns == TEXT_ONLY:
            del content["sequences"], content["fields"]
        for name in ("reader_sha256", "optional", "lists", "offsets", "keys", "kept"):
            if not content[name]:
                del content[name]
        return content

    @property
    def documents_sha256(self) -> str:
        """Of the text's bytes, and of what says which of its documents stay."""
        return filtered_sha256(self.text_sha256, self.kept)

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()


def text_sha256(text_file: Path, cache_dir: Path) -> str:
    """SHA-256 of a text's bytes, remembered in `cache_dir` so that a big text is hashed once.

    Of several files it is that of their hashes in order, with the names of their folders where these differ: they may
    be labels. What is remembered holds for one state of the files; the system sets the time of a state's last change
    (ctime), so that no copying tool can forge it.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    require_text(text_file)
    files = [file for shard in shards_of(text_file) for file in files_of(shard)]
    folders = [folder_name(file) for file in files]
    if len({*folders}) == 1:
        folders = []
    try:
        states = [_state(file) for file in files]
        # A later change could carry the same time as long as the clock has not moved on: do not remember it yet.
        settled = time.time_ns() - max(changed for _, _, changed, _, _ in states) > SETTLED_NANOSECONDS
        state = repr(states[0] if len(states) == 1 else (states, folders) if folders else states)
        memory = cache_dir / ".text_sha256" / hashlib.sha256(state.encode()).hexdigest()
        return (settled and _recall(memory)) or _hash_text(files, folders, memory if settled else None)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or text_file}: {error.strerror}") from error


def _state(file: Path) -> tuple[int, int, int, int, str]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, str(file.resolve())


def filtered_sha256(sha256: str, kept: str) -> str:
    """The hash of a text of which some documents stay; that of the text itself where all do."""
    return hashlib.sha256(f"{sha256} {kept}".encode()).hexdigest() if kept else sha256


def tokenizer_sha256(tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 of what a tokenizer does to a text: its own file, or the files of one in pure Python."""
    digest = hashlib.sha256()
    if tokenizer.is_fast:
        backend, encode_special_tokens = serialized_backend(tokenizer)
        digest.update(f"{backend}\n{encode_special_tokens}".encode())
        return digest.hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                digest.update(f"{file.relative_to(folder)} {file.stat().st_size}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def serialized_backend(tokenizer: "PreTrainedTokenizerBase") -> tuple[str, bool]:
    """A fast tokenizer's `tokenizer.json` without truncation and padding, and whether it splits special tokens.

    Whoever used the tokenizer last may have left truncation or padding switched on in it.
    """
    backend = tokenizer.backend_tokenizer
    content = json.loads(backend.to_str())
    content["truncation"] = content["padding"] = None
    return json.dumps(content, ensure_ascii=False), bool(backend.encode_special_tokens)


def _recall(memory: Path) -> str | None:
    with suppress(OSError, ValueError):
        digest, check = memory.read_text().split()
        if check == _check(digest, memory):
            return digest
    return None


def _hash_text(files: Sequence[Path], folders: Sequence[str], memory: Path | None) -> str:
    digests = [*map(_hash_file, files), *folders]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256(os.fsencode("\n".join(digests))).hexdigest()
    # A cache that cannot be written only costs time.
    with suppress(OSError):
        if memory is not None:
            memory.parent.mkdir(parents=True, exist_ok=True)
            temporary = memory.with_suffix(f".{os.getpid()}")
            temporary.write_text(f"{digest} {_check(digest, memory)}\n")
            temporary.replace(memory)
    return digest


def _hash_file(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.sha256()
        while block := opened.read(1024 * 1024):
            digest.update(block)
    return digest.hexdigest()


def _check(digest: str, memory: Path) -> str:
    return hashlib.sha256(f"{digest} {memory.name}".encode()).hexdigest()
