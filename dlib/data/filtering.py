"""Which documents of a text are left out, by what they say: those of a test set, those on the other side of a split.

It stands apart from the text's files because the processes that tokenize apply it, and know the store's recipe alone.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path

from dlib.data.records import Document, Text
from dlib.process.durable import write_text_atomically

DIGEST_BYTES, PLACE_DIGITS = 16, 16
PLACES = 16**PLACE_DIGITS
"""A document's place among all is the beginning of its digest, as a number below this."""
EXCLUDED = "excluded"


@dataclass(frozen=True)
class DocumentFilter:
    """Which documents stay; as it is, all of them."""

    excluded: str = ""  # name of a set of digests that do not stay, see `keep_digests`
    side: str = ""  # "dev": only documents whose place is below `below`; "train": only the others
    below: int = 0

    @property
    def content(self) -> str:
        """As text, for the recipe of a store; empty where all documents stay."""
        return "" if self == ALL_DOCUMENTS else json.dumps(asdict(self))


ALL_DOCUMENTS = DocumentFilter()


class DocumentSieve:
    """Applies a filter.

    Attributes:
        num_excluded: documents so far that stand among the excluded.
    """

    def __init__(self, content: str, cache_dir: Path) -> None:
        """Take a filter's content, and the folder in which its digests are kept."""
        self.filter = DocumentFilter(**json.loads(content or "{}"))
        self.excluded = read_digests(cache_dir / EXCLUDED / self.filter.excluded) if self.filter.excluded else set()
        self.num_excluded = 0

    def keep(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that stay. One that comes in pieces is held whole until it is known whether it does."""
        if self.filter == ALL_DOCUMENTS:
            yield from documents
            return
        for pieces in whole_documents(documents):
            if self._stays(pieces):
                yield from pieces

    def _stays(self, pieces: Sequence[Document]) -> bool:
        digest = digest_of(pieces)
        if digest in self.excluded:
            self.num_excluded += 1
            return False
        is_dev = digest is not None and place_of(digest) < self.filter.below
        return not self.filter.side or is_dev == (self.filter.side == "dev")


def whole_documents(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """The pieces of each document."""
    pieces: list[Document] = []
    for document in documents:
        pieces.append(document)
        if document.is_whole:
            yield pieces
            pieces = []


def digest_of(pieces: Sequence[Document]) -> str | None:
    """A hash of all texts of a document, blanks at their ends aside, in hexadecimal; None where there is no text."""
    sequences: Sequence[Text] = pieces[0].sequences
    if len(pieces) > 1:
        sequences = ["".join(str(piece.sequences[0]) for piece in pieces)]
    texts = [item for text in sequences for item in ((text,) if isinstance(text, str) else text)]
    stripped = [text.strip() for text in texts]
    return blake2b("\0".join(stripped).encode(), digest_size=DIGEST_BYTES).hexdigest() if any(stripped) else None


def place_of(digest: str) -> int:
    """Where a document stands among all, evenly spread and by its texts alone: a number below `PLACES`."""
    return int(digest[:PLACE_DIGITS], 16)


def keep_digests(digests: Iterable[str], cache_dir: Path) -> str:
    """Keep a set of digests in the cache, for the processes that tokenize; returns its name."""
    text = "".join(f"{digest}\n" for digest in sorted({*digests}))
    name = sha256(text.encode()).hexdigest()
    file = cache_dir / EXCLUDED / name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(file, text)
    return name


@cache
def read_digests(file: Path) -> frozenset[str]:
    """A set that `keep_digests` kept."""
    return frozenset(file.read_text().split())
