"""A range of a text to token ids, in the process that calls.

It stands apart from the token store because the processes that tokenize side by side
(`dlib/data/tokenizing_processes.py`) run it too. A range becomes some files, such as the ids and the length
of each document, so that a process holds no more than a batch of texts at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from dlib.data.fields import keep_fields
from dlib.data.fingerprint import Recipe
from dlib.data.formats import reader_of
from dlib.data.lines import ByteRange, document_ranges
from dlib.data.token_parts import Encode, PartArrays, Stretch, cut_documents, item_lead

# Many enough for the tokenizer to be busy, few enough that its records (about 100 bytes a token) stay small.
BATCH_CHARACTERS = 256 * 1024


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

    name: str  # of the files, before `.tokens`, `.lengths`, `.field-0` and so on
    num_bytes: int  # UTF-8 bytes of the sequences that are kept, and one for the end of each


def load_encode(backend: str, encode_special_tokens: bool, *, with_offsets: bool = False) -> Encode:
    """The encoding function of a fast tokenizer, from the text of its `tokenizer.json`."""
    tokenizer = Tokenizer.from_str(backend)
    tokenizer.encode_special_tokens = encode_special_tokens
    # The fast one leaves out where in the text a token stands; tokenizers has it since 0.20.
    fast = None if with_offsets else getattr(tokenizer, "encode_batch_fast", None)
    return partial(fast or tokenizer.encode_batch, add_special_tokens=False)


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
    arrays = PartArrays(columns, job.recipe.separator_id, job.dtype)
    with ExitStack() as stack:
        files = {suffix: stack.enter_context(path.with_suffix(suffix).open("wb")) for suffix in arrays.dtypes}
        for batch in _batches(cut_documents(documents, item_lead(encode) if columns.lists else "")):
            for stretch, encoding in zip(batch, encode([stretch.text for stretch in batch]), strict=True):
                arrays.add(stretch, encoding)
            for suffix, file in files.items():
                file.write(arrays.take(suffix).data)
    return Part(name, arrays.num_bytes)


def _batches(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    batch: list[Stretch] = []
    characters = 0
    for stretch in stretches:
        batch.append(stretch)
        # A sequence counts for something even when it is empty.
        characters += len(stretch.text) + 1
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
