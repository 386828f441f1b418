"""Writing the files of a token store into a folder that nobody reads yet.

It stands apart from the store, which says where that folder is, when it has its name, and what is read from it.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from dlib.data.fields import LENGTH_TYPE, FieldWriter
from dlib.data.fingerprint import Recipe
from dlib.data.lines import MIB
from dlib.data.parts import Part
from dlib.data.records import kind_of
from dlib.data.shards import num_bytes_of, shards_of
from dlib.data.text import first_document
from dlib.data.tokenizing import TokenizingJob
from dlib.data.tokenizing_processes import tokenize_text
from dlib.process.durable import sync
from dlib.process.errors import UserError
from dlib.process.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS, OFFSETS, MANIFEST = "tokens.bin", "offsets.bin", "manifest.json"
ITEMS, ITEM_OFFSETS, SPANS = "items.bin", "item-offsets.bin", "spans.bin"
SUMMED = (".lengths", ".counts")
"""Parts that say how long something is, where the store's file says where it starts."""


def write_store(
    beside: Path,
    parts: Path,
    text_file: Path,
    document: str,
    tokenizer: "PreTrainedTokenizerBase",
    recipe: Recipe,
    processes: int,
) -> None:
    """Write the files of a store, each flushed to the disk, the manifest last; its parts in a folder of their own."""
    job = _job(parts, text_file, document, _id_dtype(tokenizer, recipe.separator_id), recipe)
    columns = zip(recipe.fields, job.kinds, strict=True)
    writers = [FieldWriter(beside, place, name, kind) for place, (name, kind) in enumerate(columns)]
    joined = {suffix: beside / name for suffix, name in _joined_files(recipe).items()}
    progress = Progress(f"Tokenizing {text_file}", num_bytes_of([*map(Path, job.files)]))
    tokenized = _watched(tokenize_text(job, tokenizer, processes), progress)
    num_bytes, num_excluded = _join(parts, tokenized, writers, joined)
    fields = [asdict(writer.close()) for writer in writers]
    files = [*joined.values(), *(file for writer in writers for file in writer.files)]
    sizes = {file.name: file.stat().st_size for file in files}
    counts = {
        "fingerprint": recipe.fingerprint,
        "num_documents": (sizes[OFFSETS] // LENGTH_TYPE.itemsize - 1) // len(recipe.sequences),
        "num_tokens": sizes[TOKENS] // np.dtype(job.dtype).itemsize,
        "num_bytes": num_bytes,
        "dtype": job.dtype,
        **({"num_excluded": num_excluded} if num_excluded else {}),
    }
    if not counts["num_tokens"] and recipe.kept:
        raise UserError(f"{text_file}: --dev_split or --exclude leave no document of it: give more of it, or less")
    if not counts["num_tokens"]:
        raise UserError(f"{text_file} holds no text that the tokenizer has tokens for: write a document a line")
    manifest = {"store": counts, "sizes": sizes, "text_file": text_file.name, "recipe": recipe.content}
    manifest |= {"fields": fields} if fields else {}
    for file in joined.values():
        sync(file)
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    sync(beside / MANIFEST)
    sync(beside)


def _job(parts: Path, text_file: Path, document: str, dtype: np.dtype, recipe: Recipe) -> TokenizingJob:
    """What is to be done; the first document says of which kind each field is."""
    first = first_document(text_file, recipe.columns, recipe.encoding_errors, document)
    kinds = [kind_of(value) for value in first.fields] if first else ["text"] * len(recipe.fields)
    names = [*map(str, shards_of(text_file))]
    return TokenizingJob(
        [*map(os.path.abspath, names)], names, recipe, document, kinds, dtype.str, str(parts.resolve())
    )


def _watched(parts: Iterable[Part], progress: Progress) -> Iterator[Part]:
    """Hand parts on, and show how many there are."""
    try:
        for part in parts:
            progress.advance(part.text_bytes, is_new=part.is_new)
            yield part
    finally:
        progress.close()


def _joined_files(recipe: Recipe) -> dict[str, str]:
    """The name of the file that the parts of a suffix become."""
    files = {".tokens": TOKENS, ".lengths": OFFSETS}
    files |= {".items": ITEMS, ".counts": ITEM_OFFSETS} if recipe.lists else {}
    return files | ({".spans": SPANS} if recipe.offsets else {})


def _join(
    folder: Path, parts: Iterable[Part], writers: Sequence[FieldWriter], joined: Mapping[str, Path]
) -> tuple[int, int]:
    """Append each part of a folder to the store's files; returns the bytes of all text, and excluded documents."""
    num_bytes, num_excluded, ends = 0, 0, dict.fromkeys(joined, 0)
    for suffix, file in joined.items():
        file.write_bytes(np.zeros(1, LENGTH_TYPE).data if suffix in SUMMED else b"")
    for part in parts:
        num_bytes += part.num_bytes
        num_excluded += part.num_excluded
        for suffix, file in joined.items():
            with (folder / f"{part.name}{suffix}").open("rb") as source, file.open("ab") as target:
                if suffix in SUMMED:
                    ends[suffix] = _append_ends(source, target, ends[suffix])
                else:
                    shutil.copyfileobj(source, target, MIB)
        for writer in writers:
            writer.add(folder / part.name)
    return num_bytes, num_excluded


def _append_ends(lengths: BinaryIO, target: BinaryIO, end: int) -> int:
    """Where each of some stretches ends, the first of which begins at `end`; returns the last one's end."""
    while block := lengths.read(MIB):
        ends = end + np.cumsum(np.frombuffer(block, LENGTH_TYPE))
        target.write(ends.data)
        end = int(ends[-1])
    return end


def _id_dtype(tokenizer: "PreTrainedTokenizerBase", separator_id: int) -> np.dtype:
    """The smallest unsigned integer, little-endian, that holds every id, those of added tokens included."""
    largest = max(separator_id, *tokenizer.get_vocab().values())
    return np.min_scalar_type(largest).newbyteorder("<")
