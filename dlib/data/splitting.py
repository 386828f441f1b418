"""`--dev_split` and `--exclude`: which filter each text of a run has, and where its development text begins.

A document is of the development text when its place (`place_of`) is low enough, whatever stands around it: so its
copies are, too, and it stays there when the training text grows. A number of documents is turned into a share once,
by reading the text, and the run keeps the share.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import numpy as np

from dlib.args import DataArgs
from dlib.config.corpora import DevSplit, parse_corpora, parse_dev_split
from dlib.data.filtering import (
    ALL_DOCUMENTS,
    PLACES,
    DocumentFilter,
    DocumentSieve,
    digest_of,
    keep_digests,
    place_of,
    whole_documents,
)
from dlib.data.finding import TextFiles, find_excluded
from dlib.data.samples import Columns
from dlib.data.text import iterate_raw
from dlib.process.durable import refusals_told
from dlib.process.errors import UserError
from dlib.process.ranks import say

PLACES_AT_ONCE = 1 << 20


def filter_of(args: DataArgs, split: str, columns: Columns) -> DocumentFilter:
    """What is left out of a text: of `train` and its parts, of `dev`, or of another, of which nothing is.

    Raises:
        UserError: a file to be excluded is missing or cannot be read.
    """
    names = [corpus.name for corpus in parse_corpora(args.train, "--train")]
    if args.dev_split is None:
        return DocumentFilter(exclude(args, columns)) if split == "train" else ALL_DOCUMENTS
    if split not in ("train", "dev", *names):
        return ALL_DOCUMENTS
    share = parse_dev_split(args.dev_split, "--dev_split").share
    assert share is not None, "a number of documents is settled before"
    return DocumentFilter(exclude(args, columns), "train" if split == "train" else "dev", int(share * PLACES))


def exclude(args: DataArgs, columns: Columns) -> str:
    """Keep the digests of the documents of `--exclude`; returns their name, empty where there are none.

    Raises:
        UserError: a file is missing or cannot be read, or the cache cannot be written.
    """
    files = find_excluded(args)
    documents = chain.from_iterable(
        iterate_raw(file, columns.of_text, args.encoding_errors, args.document) for file in files
    )
    digests = [digest for pieces in whole_documents(documents) if (digest := digest_of(pieces))]
    with refusals_told(Path(args.cache_dir), name=f"--cache_dir {args.cache_dir}"):
        return keep_digests(digests, Path(args.cache_dir)) if digests else ""


def settle_dev_split(args: DataArgs, files: TextFiles, columns: Columns) -> DataArgs:
    """Turn a number of documents into the share that gives as many, or more where some have copies.

    Raises:
        UserError: there are no more documents than that.
    """
    split = None if args.dev_split is None else parse_dev_split(args.dev_split, "--dev_split")
    if split is None or split.share is not None:
        return args
    assert split.count is not None
    say(f"Reading the training text for --dev_split {split.count}; a share needs no reading")
    sieve = DocumentSieve(DocumentFilter(exclude(args, columns)).content, Path(args.cache_dir))
    documents = chain.from_iterable(
        sieve.keep(iterate_raw(text.file, columns.of_text, args.encoding_errors, args.document))
        for text in files.training
    )
    digests = (digest_of(pieces) for pieces in whole_documents(documents))
    last, after = places_around(filter(None, digests), split.count)
    return replace(args, dev_split=DevSplit(split.count, share_between(last, after)).text)


def places_around(digests: Iterator[str], count: int) -> tuple[int, int]:
    """The place of the last of `count` documents, the lowest ones, and that of the next one.

    Raises:
        UserError: there are no more documents than that.
    """
    places, copies = np.empty(0, np.uint64), np.empty(0, np.int64)
    while len(block := np.array([*map(place_of, islice(digests, PLACES_AT_ONCE))], np.uint64)):
        places, inverse = np.unique(np.concatenate([places, block]), return_inverse=True)
        copies = np.bincount(inverse, np.concatenate([copies, np.ones(len(block))])).astype(np.int64)
        needed = int(np.searchsorted(np.cumsum(copies), count)) + 2
        places, copies = places[:needed], copies[:needed]
    found = int(np.searchsorted(np.cumsum(copies), count))
    if found + 1 >= len(places):
        raise UserError(f"--dev_split {count}: the training text has only {copies.sum():,} documents: give less")
    return int(places[found]), int(places[found + 1])


def share_between(last: int, after: int) -> Fraction:
    """The share with the fewest digits of a percentage that takes the place `last` and leaves the place `after`."""
    for digits in range(20):
        unit = Fraction(1, 100 * 10**digits)
        share = -(-Fraction(last + 1, PLACES) // unit) * unit
        if int(share * PLACES) <= after:
            return share
    raise AssertionError("a step of 10^-22 is less than a place")
