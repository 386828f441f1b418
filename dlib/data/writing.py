"""Writing the files of a token store into a folder that nobody reads yet.

It stands apart from the store, which says where that folder is, when it has its name, and what is read from it.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlib.data.fields import LENGTH_TYPE, FieldWriter
from dlib.data.fingerprint import Recipe
from dlib.data.formats import kind_of
from dlib.data.lines import MIB
from dlib.data.text import first_document
from dlib.data.tokenizing import Part, TokenizingJob
from dlib.data.tokenizing_processes import tokenize_text
from dlib.process.durable import sync
from dlib.process.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS, OFFSETS, MANIFEST = "tokens.bin", "offsets.bin", "manifest.json"


def write_store(
    beside: Path, text_file: Path, document: str, tokenizer: "PreTrainedTokenizerBase", recipe: Recipe, processes: int
) -> None:
    """Write the files of a store, each flushed to the disk, the manifest last."""
    job = _job(beside, text_file, document, _id_dtype(tokenizer, recipe.separator_id), recipe)
    columns = zip(recipe.fields, job.kinds, strict=True)
    writers = [FieldWriter(beside, place, name, kind) for place, (name, kind) in enumerate(columns)]
    lengths_bytes, num_bytes = _join(beside, tokenize_text(job, tokenizer, processes), writers)
    fields = [asdict(writer.close()) for writer in writers]
    files = [beside / TOKENS, beside / OFFSETS, *(file for writer in writers for file in writer.files)]
    sizes = {file.name: file.stat().st_size for file in files}
    counts = {
        "fingerprint": recipe.fingerprint,
        "num_documents": lengths_bytes // LENGTH_TYPE.itemsize // len(recipe.sequences),
        "num_tokens": sizes[TOKENS] // np.dtype(job.dtype).itemsize,
        "num_bytes": num_bytes,
        "dtype": job.dtype,
    }
    if not counts["num_tokens"]:
        raise UserError(f"{text_file} holds no text that the tokenizer has tokens for: write a document a line")
    manifest = {"store": counts, "sizes": sizes, "text_file": text_file.name, "recipe": recipe.content}
    manifest |= {"fields": fields} if fields else {}
    sync(beside / TOKENS)
    sync(beside / OFFSETS)
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    sync(beside / MANIFEST)
    sync(beside)


def _job(beside: Path, text_file: Path, document: str, dtype: np.dtype, recipe: Recipe) -> TokenizingJob:
    """What is to be done; the first document says of which kind each field is."""
    first = first_document(text_file, recipe.columns, recipe.encoding_errors)
    kinds = [kind_of(value) for value in first.fields] if first else ["text"] * len(recipe.fields)
    place, folder = str(text_file.resolve()), str(beside.resolve())
    return TokenizingJob(place, text_file.suffix, recipe, document, kinds, dtype.str, folder)


def _join(beside: Path, parts: Iterable[Part], writers: Sequence[FieldWriter]) -> tuple[int, int]:
    """Append each part to the store's files and remove it; returns the bytes of all lengths and of all text."""
    lengths_bytes = num_bytes = 0
    end = np.zeros(1, dtype=LENGTH_TYPE)
    with (beside / TOKENS).open("wb") as tokens, (beside / OFFSETS).open("wb") as offsets:
        offsets.write(end.data)
        for part in parts:
            tokens_part, lengths_part = beside / f"{part.name}.tokens", beside / f"{part.name}.lengths"
            with tokens_part.open("rb") as file:
                shutil.copyfileobj(file, tokens, MIB)
            lengths = np.fromfile(lengths_part, dtype=LENGTH_TYPE)
            ends = end[-1] + np.cumsum(lengths)
            offsets.write(ends.data)
            end = ends if len(ends) else end
            lengths_bytes, num_bytes = lengths_bytes + lengths.nbytes, num_bytes + part.num_bytes
            tokens_part.unlink()
            lengths_part.unlink()
            for writer in writers:
                writer.add(beside / part.name)
    return lengths_bytes, num_bytes


def _id_dtype(tokenizer: "PreTrainedTokenizerBase", separator_id: int) -> np.dtype:
    """The smallest unsigned integer, little-endian, that holds every id, those of added tokens included."""
    largest = max(separator_id, *tokenizer.get_vocab().values())
    return np.min_scalar_type(largest).newbyteorder("<")
