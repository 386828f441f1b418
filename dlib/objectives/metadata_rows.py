"""Documents in pieces, with what is known of them written before and into each piece.

    lead | url: example.org|timestamp: 2020| the piece, with <person>Ada</person> in it

A piece is as long as leaves room for metadata, whether it gets any or not: so the number of its text tokens, which are
the targets, is known without drawing, and a text has the same targets with metadata and without.
Letters: T tokens of a row, n tokens of a piece.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dlib.data.packing import require_room
from dlib.data.samples import Sample, SampleKey
from dlib.data.token_store import TokenStore
from dlib.objectives.characters import tokens_of
from dlib.objectives.metadata_clm_args import MetadataArgs
from dlib.process.seeding import keyed_generator

Tokenize = Callable[[str], list[int]]
IS_TEXT = "is_text"
"""The field of a sample that says of each of its sequences which tokens are text, (T,) bool each."""
WRITTEN = "written"
"""The field that has the names of the document's metadata."""


class Insertion(NamedTuple):
    """Tokens within a piece; in ascending order what is inside is inside, and what ends is before what begins."""

    place: int  # in front of which token of the piece
    begins: bool
    order: tuple[
        int, int
    ]  # among those at the same place: of longer spans, those that begin are first, then earlier ones
    ids: Sequence[int]


@dataclass(frozen=True)
class MetadataWriter:
    """Writes metadata as tokens."""

    args: MetadataArgs
    tokenize: Tokenize

    def before(self, values: Mapping[str, Any], room: int) -> list[int]:
        """The values by name, those that fit into `room` tokens; a first one that is too long is cut."""
        separator = self.tokenize(self.args.metadata_separator)
        written: list[int] = []
        for name, value in values.items():
            entry = self.args.metadata_template.format(name=name, value=shown(value)) + self.args.metadata_separator
            ids = self.tokenize(entry)
            if len(written) + len(ids) <= room:
                written += ids
            elif not written and room > len(separator):
                written += [*ids[: room - len(separator)], *separator]
        return written

    def within(self, spans: Mapping[str, Any], offsets: np.ndarray, room: int) -> list[Insertion]:
        """What is inserted into a piece whose tokens stand at the characters `offsets` (n, 2), in order.

        A span that begins or ends in another piece is left out, and so is one that does not fit into `room` tokens.
        """
        found: list[Insertion] = []
        for name, value, start, stop in (
            (n, s["value"], s["start"], s["end"]) for n, own in spans.items() for s in own
        ):
            places = tokens_of(offsets, start, stop)
            head, _, tail = self.args.metadata_span_template.partition("{text}")
            opening, closing = (self.tokenize(part.format(name=name, value=shown(value))) for part in (head, tail))
            if places is None or len(opening) + len(closing) > room:
                continue
            room -= len(opening) + len(closing)
            length, number = places[1] - places[0], len(found)
            found += [
                Insertion(places[0], True, (-length, number), opening),
                Insertion(places[1] + 1, False, (length, -number), closing),
            ]
        return sorted(found, key=lambda insertion: insertion[:3])


def shown(value: Any) -> str:
    """A value as text; the items of a list with commas."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class MetadataRows:
    """A row a piece. In training, metadata is drawn for the document; in an evaluation it comes with all, and without.

    Then a row has two sequences, both with the same text.
    """

    store: TokenStore  # the text, with fields
    max_length: int  # most tokens of a row, the lead and metadata included
    lead_id: int  # id that starts each row
    writer: MetadataWriter

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            UserError: there is no room for text.
        """
        require_room(self.max_length, num_special=1 + self.room)

    @property
    def room(self) -> int:
        """Most tokens of metadata in a row."""
        return self.writer.args.metadata_length or self.max_length // 4

    @property
    def _width(self) -> int:
        return self.max_length - 1 - self.room

    @cached_property
    def _first_rows(self) -> np.ndarray:
        """Number of the first row of each document, and of all rows, (num_documents + 1,)."""
        return np.concatenate([[0], np.cumsum(-(-np.diff(self.store.offsets) // self._width))])

    def __len__(self) -> int:
        """Number of pieces."""
        return int(self._first_rows[-1])

    @property
    def num_tokens(self) -> int:
        """Sum of the lengths of all rows, lead tokens included, without metadata."""
        return self.store.num_tokens + len(self)

    def lengths(self, first: int, last: int) -> np.ndarray:
        """Most tokens of the rows `first` to `last`, with all the metadata that they have room for, (n, 1) int64."""
        rows = np.arange(first, last)
        documents = np.searchsorted(self._first_rows, rows, side="right") - 1
        starts = self.store.offsets[documents] + (rows - self._first_rows[documents]) * self._width
        text = np.minimum(self.store.offsets[documents + 1] - starts, self._width)
        return (1 + self.room + text)[:, None]

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """Row `index`: its tokens (T,), and which of them are text."""
        document = int(np.searchsorted(self._first_rows, index, side="right")) - 1
        place = index - int(self._first_rows[document])  # of the piece in its document
        start = place * self._width
        first, stop = (int(offset) for offset in self.store.offsets[document : document + 2])
        tokens = self.store.tokens[first + start : min(first + start + self._width, stop)]
        args = self.writer.args
        names = (*args.metadata_fields, *args.metadata_span_fields)
        values = {name: self.store.field(name, document) for name in names}
        there = {name: value for name, value in values.items() if value not in (None, "", [])}
        is_evaluated = key[:1] == ("evaluation",)
        chosen = [[*there], []] if is_evaluated else [choose(args, [*there], key_of_document(key, place))]
        offsets = self._offsets(document, start, len(tokens))
        rows = [self._compose(tokens, offsets, {name: there[name] for name in own}) for own in chosen]
        sequences, is_text = zip(*rows, strict=True)
        return Sample(sequences, {IS_TEXT: is_text, WRITTEN: [*there]}, index, key)

    def _offsets(self, document: int, start: int, count: int) -> np.ndarray:
        if not self.writer.args.metadata_span_fields:
            return np.empty((0, 2), dtype=np.int64)
        return self.store.character_offsets("text", document)[start : start + count]

    def _compose(
        self, tokens: np.ndarray, offsets: np.ndarray, values: Mapping[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A row and which of its tokens are text, (T,) each."""
        spans = {name: values[name] for name in self.writer.args.metadata_span_fields if name in values}
        before = {name: value for name, value in values.items() if name not in spans}
        head = self.writer.before(before, self.room)
        inserted = self.writer.within(spans, offsets, self.room - len(head))
        pieces, last = [([self.lead_id, *head], False)], 0
        for place, _, _, ids in inserted:
            pieces += [(tokens[last:place].tolist(), True), ([*ids], False)]
            last = place
        pieces.append((tokens[last:].tolist(), True))
        row = np.concatenate([np.array(ids, dtype=np.int64) for ids, _ in pieces])
        return row, np.repeat([is_text for _, is_text in pieces], [len(ids) for ids, _ in pieces])


def key_of_document(key: SampleKey, place: int) -> SampleKey:
    """The key of a document's first row, of that of the row at `place` in it: all of them are drawn for as one."""
    return (*key[:-1], int(key[-1]) - place) if place else key


def choose(args: MetadataArgs, names: Sequence[str], key: SampleKey) -> list[str]:
    """Which of a document's fields are written into its rows, drawn by its key.

    With weights, first their number is drawn, then one after another by weight: those whose exponential waiting times
    are the shortest (Efraimidis and Spirakis 2006).
    """
    generator = keyed_generator("metadata", *key)
    if not names or generator.random() >= args.metadata_probability:
        return []
    if not args.metadata_weights:
        return [*names]
    weights = [args.metadata_weights.get(name, 1.0) for name in names]
    times = generator.exponential(size=len(names))
    waits = sorted((time / weight, name) for time, weight, name in zip(times, weights, names, strict=True) if weight)
    drawn = {name for _, name in waits[: generator.integers(1, len(waits) + 1)]} if waits else {}
    return [name for name in names if name in drawn]
