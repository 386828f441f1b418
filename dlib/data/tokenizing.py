"""A range of a text to token ids, in the process that calls.

It stands apart from the token store because the processes that tokenize side by side
(`dlib/data/tokenizing_processes.py`) run it too. A range becomes two files, the ids and the length of
each document, so that a process holds no more than a batch of texts at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from dlib.data.fields import LENGTH_TYPE, keep_fields
from dlib.data.fingerprint import Recipe
from dlib.data.formats import Document, reader_of
from dlib.data.lines import PIECE_BYTES, ByteRange, document_ranges

# Many enough for the tokenizer to be busy, few enough that its records (about 100 bytes a token) stay small.
BATCH_CHARACTERS = 256 * 1024

Encode = Callable[[list[str]], Iterable[Sequence[int]]]
"""Texts to the ids of each, without special tokens."""


@dataclass(frozen=True)
class TokenizingJob:
    """What is to be tokenized, how, and where to."""

    text_file: str  # absolute path of the text
    suffix: str  # of its name, which says how it is read; a link's own
    recipe: Recipe  # which columns are read, and how; what ends a sequence
    document: str  # what a document of plain text is, see `DataArgs.document`
    kinds: Sequence[str]  # of each field, see `kind_of`
    dtype: str  # numpy's name of the type of an id, such as "<u2"
    folder: str  # absolute path of the folder for the parts


class Part(NamedTuple):
    """The tokens of one range."""

    name: str  # of the files, before `.tokens`, `.lengths` and `.field-0` and so on
    num_bytes: int  # UTF-8 bytes of the sequences that are kept, and one for the end of each


def load_encode(backend: str, encode_special_tokens: bool) -> Encode:
    """The encoding function of a fast tokenizer, from the text of its `tokenizer.json`."""
    tokenizer = Tokenizer.from_str(backend)
    tokenizer.encode_special_tokens = encode_special_tokens
    # The fast one leaves out where in the text a token stands; tokenizers has it since 0.20.
    encode_batch = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)

    def encode(texts: list[str]) -> Iterator[Sequence[int]]:
        return (encoding.ids for encoding in encode_batch(texts, add_special_tokens=False))

    return encode


def tokenize_here(job: TokenizingJob, encode: Encode, index: int = 0, processes: int = 1) -> Iterator[Part]:
    """Tokenize the ranges in this process that are its own: of so many `processes` it is number `index`, from 0.

    Raises:
        DocumentError: a document cannot be read.
    """
    for number, byte_range in enumerate(document_ranges(Path(job.text_file))):
        if number % processes == index:
            yield tokenize_range(job, encode, byte_range, number)


def tokenize_range(job: TokenizingJob, encode: Encode, byte_range: ByteRange, number: int) -> Part:
    """Write the ids, the lengths and the fields of one range.

    A document without tokens is left out, unless documents are aligned with fields or further sequences.
    """
    name = f"part-{number:06d}"
    path = Path(job.folder) / name
    columns = job.recipe.columns
    documents = reader_of(job.suffix, job.document)(
        Path(job.text_file), byte_range, columns, job.recipe.encoding_errors
    )
    if columns.fields:
        documents = keep_fields(documents, path, columns.fields, job.kinds)
    num_bytes, lengths = 0, []
    sequence_tokens, sequence_bytes = 0, 1
    with path.with_suffix(".tokens").open("wb") as file:
        for pieces in _batches(_pieces(documents)):
            flat: list[int] = []
            for (text, ends_sequence), ids in zip(pieces, encode([text for text, _ in pieces]), strict=True):
                flat.extend(ids)
                sequence_tokens += len(ids)
                sequence_bytes += len(text.encode())
                if not ends_sequence:
                    continue
                if sequence_tokens or columns.is_aligned:
                    flat.append(job.recipe.separator_id)
                    lengths.append(sequence_tokens + 1)
                    num_bytes += sequence_bytes
                sequence_tokens, sequence_bytes = 0, 1
            file.write(np.array(flat, dtype=job.dtype).data)
    path.with_suffix(".lengths").write_bytes(np.array(lengths, dtype=LENGTH_TYPE).data)
    return Part(name, num_bytes)


def _pieces(documents: Iterable[Document]) -> Iterator[tuple[str, bool]]:
    """The sequences of documents, long ones cut before a space where they have one; with each whether it is the end."""
    for document in documents:
        for text in document.sequences:
            start = 0
            while len(text) - start > PIECE_BYTES:
                space = text.rfind(" ", start + 1, start + PIECE_BYTES)
                stop = space if space > 0 else start + PIECE_BYTES
                yield text[start:stop], False
                start = stop
            yield text[start:], document.is_whole


def _batches(pieces: Iterable[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    batch: list[tuple[str, bool]] = []
    characters = 0
    for text, ends_sequence in pieces:
        batch.append((text, ends_sequence))
        # A sequence counts for something even when it is empty.
        characters += len(text) + 1
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
