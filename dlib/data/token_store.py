"""The token store: a text tokenized once, as flat files that any number of processes map into memory.

    cache/<fingerprint>/
      tokens.bin      (num_tokens,) ids, in the smallest unsigned integer that holds the vocabulary
      offsets.bin     (num_documents * sequences + 1,) int64, where each sequence of each document starts
      field-0.bin     the values of a field, see `dlib/data/fields.py`
      items.bin       (num_items,) int64, tokens of each item of all lists; item-offsets.bin where those of a list start
      spans.bin       (num_tokens, 2) uint32, characters of each token where they are kept, else 0
      manifest.json   counts, sizes and what the fingerprint covers; written last

It stands apart because building it is the one expensive thing in front of a run. The folder is named by
its content's origin (`dlib/data/fingerprint.py`), written beside under another name, flushed and
renamed whole; a lock lets one process build while the others that started with it wait. Whatever is
interrupted has no manifest and not the name, so that it never looks finished. What it is joined of stands in
a folder of its own until then (`dlib/data/parts.py`), from which the next build goes on after a kill.
"""

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from dlib.data.builds import builds_of, folder_beside, lock_file, remove_dead_builds
from dlib.data.fields import LENGTH_TYPE, MOST_DISTINCT, FieldColumn, map_array
from dlib.data.fingerprint import Recipe, text_sha256, tokenizer_sha256
from dlib.data.parts import take_over
from dlib.data.records import Value
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.shards import num_bytes_of, shards_of, text_reader_sha256
from dlib.data.text import require_text
from dlib.data.token_parts import SPAN_TYPE
from dlib.data.tokenizing_processes import KilledProcessError
from dlib.data.writing import ITEM_OFFSETS, ITEMS, MANIFEST, OFFSETS, SPANS, TOKENS, write_store
from dlib.process.durable import refusals_told, sync
from dlib.process.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenStore:
    """A finished token store, read only. It pickles as its folder, and then maps its files at their first use."""

    folder: Path  # `<cache_dir>/<fingerprint>`
    recipe: Recipe  # all that its content depends on, the hashes of the text and the tokenizer among it
    fingerprint: str  # hash of the recipe
    # documents that have tokens; all of them where they are aligned with fields or several sequences
    num_documents: int
    num_tokens: int  # all tokens, a separator after each sequence included
    num_bytes: int  # UTF-8 bytes of the sequences of those documents, and one for each separator
    dtype: str  # numpy's name of the type of an id, such as "<u2"
    fields: tuple[FieldColumn, ...] = ()  # what is known of each field's column, in the order of the recipe
    num_excluded: int = 0  # documents that were left out because they stand in files of `--exclude`
    limits: str = ""  # by which it ends early, see `Corpus.limits`

    @cached_property
    def tokens(self) -> np.ndarray:
        """All ids in the order of the text, (num_tokens,); a separator stands after each sequence."""
        return np.asarray(np.memmap(self.folder / TOKENS, dtype=self.dtype, mode="r", shape=(self.num_tokens,)))

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each sequence starts, (num_documents * num_sequences + 1,) int64; the next one's start is its end."""
        shape = (self.num_documents * self.num_sequences + 1,)
        return np.asarray(np.memmap(self.folder / OFFSETS, dtype=LENGTH_TYPE, mode="r", shape=shape))

    @property
    def num_sequences(self) -> int:
        """Sequences of a document."""
        return len(self.recipe.sequences)

    def segment(self, document: int, sequence: int = 0) -> np.ndarray:
        """The ids of a sequence of a document, without its separator, (n,)."""
        place = document * self.num_sequences + sequence
        return self.tokens[self.offsets[place] : self.offsets[place + 1] - 1]

    def field(self, name: str, document: int) -> Any:
        """The value of a document's field."""
        return self._values[name](document)

    def item_lengths(self, name: str, document: int) -> np.ndarray:
        """Tokens of each item of a document's list, (items,) int64."""
        lengths, offsets = self._items
        lists = [sequence for sequence in self.recipe.sequences if sequence in self.recipe.lists]
        place = document * len(lists) + lists.index(name)
        return lengths[offsets[place] : offsets[place + 1]]

    def character_offsets(self, name: str, document: int) -> np.ndarray:
        """First character of each token of `segment`, and the one after its last, (n, 2) int64.

        Blanks around a word are not counted.
        """
        place = document * self.num_sequences + self.recipe.sequences.index(name)
        return self._spans[self.offsets[place] : self.offsets[place + 1] - 1].astype(np.int64)

    def distinct(self, name: str) -> Sequence[Value]:
        """All different values of a field in ascending order, such as the names of labels; of lists, of their items.

        Raises:
            UserError: there are too many.
        """
        values = next(column.distinct for column in self.fields if column.name == name)
        if values is None:
            raise UserError(f'key "{name}": more than {MOST_DISTINCT:,} different values, or of more than 1 MiB in all')
        return values

    @cached_property
    def _values(self) -> dict[str, Callable[[int], Value]]:
        return {column.name: column.map_values(self.folder, place) for place, column in enumerate(self.fields)}

    @cached_property
    def _items(self) -> tuple[np.ndarray, np.ndarray]:
        return map_array(self.folder / ITEMS, LENGTH_TYPE.str), map_array(self.folder / ITEM_OFFSETS, LENGTH_TYPE.str)

    @cached_property
    def _spans(self) -> np.ndarray:
        return map_array(self.folder / SPANS, SPAN_TYPE.str).reshape(-1, 2)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the mapped files, which would be copied whole."""
        return type(self), tuple(getattr(self, field.name) for field in dataclasses.fields(self))


def build_token_store(
    text_file: Path,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    separator_id: int,
    cache_dir: Path,
    columns: Columns = TEXT_ONLY,
    document: str = "line",
    encoding_errors: str = "strict",
    kept: str = "",
    processes: int = -1,
) -> TokenStore:
    """Tokenize a text, or find it tokenized in `cache_dir`.

    No special tokens are added and nothing is truncated; a document without tokens is left out, unless it is aligned
    with fields or further sequences. The content is the same for any number of processes.

    Args:
        text_file: the text.
        tokenizer: a fast tokenizer, or one in pure Python, which then works in this process alone.
        separator_id: id that ends each sequence of a document.
        cache_dir: folder of the token stores.
        columns: what is read of each document.
        document: what a document of plain text is, see `DataArgs.document`; `auto` is a line.
        encoding_errors: "strict", "replace" or "ignore" bytes that are not UTF-8.
        kept: which documents stay, see `Filter.content`; empty: all.
        processes: number of processes that tokenize; -1: one a CPU core.

    Raises:
        UserError: the text is missing, empty or cannot be read; `cache_dir` cannot be written or is full.
    """
    require_text(text_file)
    recipe = Recipe(
        text_sha256(text_file, cache_dir),
        tokenizer_sha256(tokenizer),
        int(separator_id),
        encoding_errors,
        reader_sha256=text_reader_sha256(text_file, document),
        kept=kept,
        **asdict(columns),
    )
    folder = cache_dir / recipe.fingerprint
    store = open_token_store(folder)
    if store is not None:
        for left in builds_of(folder):  # a kill came when it was whole, and its parts still there
            shutil.rmtree(left, ignore_errors=True)
        return store
    with refusals_told(cache_dir, name=f"--cache_dir {cache_dir}"):
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_file(folder)):
            return open_token_store(folder) or _build(text_file, document, tokenizer, recipe, folder, processes)


def open_token_store(folder: Path) -> TokenStore | None:
    """Open a token store, or None where there is no whole one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if any((folder / name).stat().st_size != size for name, size in manifest["sizes"].items()):
            return None
        fields = tuple(FieldColumn(**field) for field in manifest.get("fields", ()))
        if any(np.dtype(name).hasobject for name in (manifest["store"]["dtype"], *(field.dtype for field in fields))):
            return None  # addresses in memory, which nobody but an attacker writes in place of numbers
        store = TokenStore(folder, Recipe(**manifest["recipe"]), **manifest["store"], fields=fields)
        _ = store.tokens, store.offsets, store._values  # mapped now: a cache may be removed while a run trains
        _ = store.recipe.lists and store._items, store.recipe.offsets and store._spans
        return store
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build(
    text_file: Path, document: str, tokenizer: "PreTrainedTokenizerBase", recipe: Recipe, folder: Path, processes: int
) -> TokenStore:
    """Build under the lock: beside, then renamed whole. The whole parts of a killed build are not made again."""
    if folder.exists():
        folder.rename(folder_beside(folder))
    beside, parts = folder_beside(folder), folder_beside(folder)
    dead_builds = builds_of(folder)
    parts.mkdir()
    for dead in dead_builds:
        take_over(dead, parts)
        shutil.rmtree(dead, ignore_errors=True)
    remove_dead_builds(folder)
    LOGGER.info("Tokenizing %s (%.1f MB) into %s", text_file, num_bytes_of(shards_of(text_file)) / 1e6, folder)
    beside.mkdir()
    try:
        write_store(beside, parts, text_file, document, tokenizer, recipe, processes)
        if text_sha256(text_file, folder.parent) != recipe.text_sha256:
            raise UserError(f"{text_file} changed while it was read; start again once it is complete")
        beside.rename(folder)
        sync(folder.parent)
    except KilledProcessError:
        raise
    except BaseException:
        shutil.rmtree(parts, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(parts, ignore_errors=True)
    store = open_token_store(folder)
    assert store is not None, f"the token store {folder} vanished as soon as it was built"
    return store
