"""What there is to know of a corpus, counted in the token stores of its texts.

Memory grows with the number of documents alone, by some 30 bytes for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from dlib.data.token_roles import TokenRoles
from dlib.data.token_store import TokenStore

TOKENS_AT_ONCE = 1 << 22
FRAME_TOKENS = 2
"""Special tokens of a row that is a document."""
HASH_BYTES = 8
"""Of a document. Among a billion different ones, about 0.03 pairs are taken for equal."""
QUANTILES = (50, 90, 99)
"""Per cent of the documents."""


@dataclass(frozen=True)
class Lengths:
    """How many tokens documents have, or one of the sequences of each."""

    count: int  # documents
    mean: float
    quantiles: tuple[int, ...]  # of `QUANTILES`
    longest: int
    longer_than_row: int  # documents with more than a row of the run


@dataclass(frozen=True)
class TextReport:
    """What was counted in one text. Tokens are those of text: separators do not count."""

    name: str  # of the text
    documents: int
    tokens: int
    num_bytes: int  # UTF-8
    lengths: Lengths  # of documents
    sequences: Mapping[str, Lengths]  # of each of their sequences, by name
    histogram: np.ndarray  # documents with no token, with 1, with 2 or 3, with 4 to 7, and so on
    unknown: int | None  # tokens; None where no token stands for what is unknown
    duplicates: int  # documents that stand in the text before
    overlap: int | None  # documents that stand in a training text; None for those


@dataclass(frozen=True)
class NamedStore:
    """A text of the corpus."""

    name: str
    store: TokenStore
    is_training: bool


def report_on(
    texts: Sequence[NamedStore], roles: TokenRoles, unknown_id: int | None, max_length: int
) -> list[TextReport]:
    """Count in the texts.

    Args:
        texts: the training texts first.
        roles: of the tokenizer's special tokens.
        unknown_id: its token for what is unknown; None where it has none.
        max_length: tokens in a row, special ones included.
    """
    if unknown_id in roles.special_ids:
        unknown_id = None  # GPT-2's is its end-of-text token too, and stands for nothing that is unknown
    training = np.empty(0, dtype=np.uint64)
    reports = []
    for text in texts:
        hashes = document_hashes(text.store)
        overlap = None if text.is_training else int(np.isin(hashes, training).sum())
        reports.append(_count(text, hashes, overlap, unknown_id, max_length - FRAME_TOKENS))
        training = np.union1d(training, hashes) if text.is_training else training
    return reports


def document_hashes(store: TokenStore) -> np.ndarray:
    """A hash of the tokens of each document, (num_documents,) uint64."""
    ends = store.offsets[:: store.num_sequences]
    hashes = np.empty(store.num_documents, dtype=np.uint64)
    for number in range(store.num_documents):
        tokens = np.ascontiguousarray(store.tokens[ends[number] : ends[number + 1]])
        hashes[number] = int.from_bytes(blake2b(tokens.data, digest_size=HASH_BYTES).digest(), "little")
    return hashes


def _count(text: NamedStore, hashes: np.ndarray, overlap: int | None, unknown_id: int | None, room: int) -> TextReport:
    store = text.store
    by_sequence = np.diff(store.offsets).reshape(-1, store.num_sequences) - 1
    lengths = by_sequence.sum(axis=1)
    separators = store.num_documents * store.num_sequences
    bins = np.frexp(lengths.astype(np.float64))[1]  # the number of binary digits: 0, 1, 2 and 3, ...
    return TextReport(
        name=text.name,
        documents=store.num_documents,
        tokens=store.num_tokens - separators,
        num_bytes=store.num_bytes - separators,
        lengths=_lengths(lengths, room),
        sequences={name: _lengths(by_sequence[:, place], room) for place, name in enumerate(store.recipe.sequences)},
        histogram=np.bincount(bins),
        unknown=None if unknown_id is None else _occurrences(store, unknown_id),
        duplicates=len(hashes) - len(np.unique(hashes)),
        overlap=overlap,
    )


def _lengths(lengths: np.ndarray, room: int) -> Lengths:
    quantiles = tuple(int(found) for found in np.percentile(lengths, QUANTILES, method="lower"))
    return Lengths(len(lengths), float(lengths.mean()), quantiles, int(lengths.max()), int((lengths > room).sum()))


def _occurrences(store: TokenStore, token: int) -> int:
    starts = range(0, store.num_tokens, TOKENS_AT_ONCE)
    return sum(int((store.tokens[start : start + TOKENS_AT_ONCE] == token).sum()) for start in starts)


def filled_bins(reports: Sequence[TextReport]) -> tuple[int, int]:
    """The first bin of the histograms that any text has documents in, and the one after the last."""
    bins = max(len(report.histogram) for report in reports)
    total = sum(np.pad(report.histogram, (0, bins - len(report.histogram))) for report in reports)
    return int(np.flatnonzero(total)[0]), bins


def length_ranges(count: int) -> list[str]:
    """The lengths that each of so many bins of a histogram holds: "0", "1", "2-3", "4-7", ..."""
    edges = [0, *(2**digits for digits in range(count))]
    return [f"{low:,}" if high - low == 1 else f"{low:,}-{high - 1:,}" for low, high in pairwise(edges)]
