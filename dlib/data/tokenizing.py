"""Ranges of a text to token ids, in the process that calls.

It stands apart from the token store because the processes that tokenize side by side
(`dlib/data/tokenizing_processes.py`) run it too. Some ranges become a part: files, such as the ids and the length
of each document, so that a process holds no more than a batch of texts at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from dlib.data.compression import format_suffix
from dlib.data.document_error import DocumentError
from dlib.data.fields import keep_fields, part_file
from dlib.data.filtering import DocumentSieve
from dlib.data.fingerprint import Recipe
from dlib.data.formats import reader_of
from dlib.data.lines import ByteRange
from dlib.data.parts import Part, find_part, finish, name_of
from dlib.data.records import Document
from dlib.data.shards import Slice, iterate_slices
from dlib.data.text import located
from dlib.data.token_parts import Encode, Encoding, PartArrays, Stretch, cut_documents, item_lead
from dlib.data.unknown_words import UnknownWordError, naming_unknown
from dlib.data.word_memory import WordMemory, takes_words_alone

# Many enough for the tokenizer to be busy, few enough that its records (about 100 bytes a token) stay small.
BATCH_CHARACTERS = 256 * 1024
# Looking words up is three to four times as fast as one thread of a tokenizer: so many threads do better.
MANY_THREADS = 4


@dataclass(frozen=True)
class TokenizingJob:
    """What is to be tokenized, how, and where to."""

    files: Sequence[str]  # absolute paths of the text's files; a link's own suffix says how it is read
    names: Sequence[str]  # what the user calls them
    recipe: Recipe  # which columns are read, and how; what ends a sequence
    document: str  # what a document of plain text is, see `DataArgs.document`
    kinds: Sequence[str]  # of each field, see `kind_of`
    dtype: str  # numpy's name of the type of an id, such as "<u2"
    folder: str  # absolute path of the folder for the parts


def load_encode(backend: str, encode_special_tokens: bool, *, with_offsets: bool = False, threads: int = 1) -> Encode:
    """The encoding function of a fast tokenizer, from the text of its `tokenizer.json`; it may take so many threads."""
    tokenizer = Tokenizer.from_str(backend)
    tokenizer.encode_special_tokens = encode_special_tokens
    # The fast one leaves out where in the text a token stands; tokenizers has it since 0.20.
    fast = None if with_offsets else getattr(tokenizer, "encode_batch_fast", None)
    encode: Encode = partial(naming_unknown, partial(fast or tokenizer.encode_batch, add_special_tokens=False))
    remembers = not with_offsets and threads < MANY_THREADS and takes_words_alone(backend)
    return WordMemory(encode) if remembers else encode


def tokenize_here(job: TokenizingJob, encode: Encode, index: int = 0, processes: int = 1) -> Iterator[Part]:
    """Make the parts in this process that are its own: of so many `processes` it is number `index`, from 0.

    A part that is there already is not made again.

    Raises:
        UserError: a document cannot be read, or has a word that the tokenizer does not know.
    """
    for number, slices in enumerate(iterate_slices(job.files)):
        if number % processes == index:
            yield find_part(Path(job.folder), number, slices) or tokenize_slices(job, encode, slices, number)


def tokenize_slices(job: TokenizingJob, encode: Encode, slices: Sequence[Slice], number: int) -> Part:
    """Write the ids, the lengths and the fields of a part.

    A document without tokens is left out, unless documents are aligned with fields or further sequences.
    """
    path = Path(job.folder) / name_of(number)
    columns = job.recipe.columns
    arrays = PartArrays(columns, job.recipe.separator_id, job.dtype)
    lead = item_lead(encode) if columns.lists else ""
    with ExitStack() as stack:
        files = {suffix: stack.enter_context(path.with_suffix(suffix).open("wb")) for suffix in arrays.dtypes}
        sieve = DocumentSieve(job.recipe.kept, Path(job.folder).parent)
        for place, byte_range in slices:
            with located(Path(job.files[place]), job.names[place]):
                documents = read_documents(job, Path(job.files[place]), byte_range, path, sieve)
                for batch in _batches(cut_documents(documents, lead)):
                    for stretch, encoding in zip(batch, _encoded(batch, encode), strict=True):
                        arrays.add(stretch, encoding)
                    for suffix, file in files.items():
                        file.write(arrays.take(suffix).data)
    written = [*map(path.with_suffix, files), *(part_file(path, place) for place in range(len(columns.fields)))]
    return finish(path, [file for file in written if file.exists()], slices, arrays.num_bytes, sieve.num_excluded)


def read_documents(
    job: TokenizingJob, file: Path, byte_range: ByteRange, part: Path, sieve: DocumentSieve
) -> Iterable[Document]:
    """The documents of a range that stay; their fields are written beside `part`."""
    columns = job.recipe.columns
    read = reader_of(format_suffix(file), job.document)(file, byte_range, columns, job.recipe.encoding_errors)
    documents = sieve.keep(read)
    return keep_fields(documents, part, columns.fields, job.kinds) if columns.fields else documents


def _encoded(batch: Sequence[Stretch], encode: Encode) -> Iterable[Encoding]:
    try:
        return encode([stretch.text for stretch in batch])
    except UnknownWordError as error:
        raise DocumentError(batch[error.place].offset, str(error)) from error


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
