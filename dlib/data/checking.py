"""Documents looked at one by one before anything is computed: one that cannot be learned from is told by its line."""

from collections.abc import Callable, Iterator
from pathlib import Path

from dlib.data.compression import format_suffix
from dlib.data.document_error import DocumentError
from dlib.data.filtering import DocumentSieve
from dlib.data.formats import reader_of
from dlib.data.lines import whole_file
from dlib.data.records import Document
from dlib.data.shards import shards_of
from dlib.data.text import located
from dlib.data.token_store import TokenStore
from dlib.process.errors import UserError

Check = Callable[[TokenStore, int], object]
"""Raises `UserError` for a document of a store that cannot be learned from, by its number from 0."""


def check_documents(store: TokenStore, text_file: Path, document: str, check: Check) -> None:
    """Look at all documents of a text.

    Args:
        store: the text, tokenized; of documents with fields, so that it has all that stay.
        text_file: what it was made of.
        document: what a document of plain text is, see `DataArgs.document`.
        check: what is asked of each.

    Raises:
        UserError: that of the first document that is refused, with its file and line.
    """
    for number in range(store.num_documents):
        try:
            check(store, number)
        except UserError as error:
            tell_place(store, text_file, document, number, str(error))
            raise


def tell_place(store: TokenStore, text_file: Path, document: str, number: int, reason: str) -> None:
    """Read the text once more, up to a document; raises `UserError` with its file, its line and the reason."""
    sieve = DocumentSieve(store.recipe.kept, store.folder.parent)
    for file in shards_of(text_file):
        with located(file):
            for found in sieve.keep(read(store, file, document)):
                if number == 0:
                    raise DocumentError(found.offset, reason)
                number -= 1


def read(store: TokenStore, file: Path, document: str) -> Iterator[Document]:
    """The documents of a file of a store's text."""
    recipe = store.recipe
    yield from reader_of(format_suffix(file), document)(file, whole_file(file), recipe.columns, recipe.encoding_errors)
