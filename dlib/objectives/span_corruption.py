"""Span corruption: leave spans out of a text, and have them written.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", sections 3.1.4
and 3.3.4. Numbers of tokens and spans follow from a row's length, as in T5's `random_spans_noise_mask`:

    text      Thank you for inviting me to your party last week .
    source    Thank you <extra_id_0> me to your party <extra_id_1> week . </s>
    target    <extra_id_0> for inviting <extra_id_1> last </s>
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from dlib.data.packing import RowSource
from dlib.data.samples import Sample
from dlib.data.token_store import TokenStore
from dlib.objectives.encoder_decoder import EncoderDecoder
from dlib.objectives.objective import Batch
from dlib.process.errors import UserError
from dlib.process.seeding import keyed_generator

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))
"""Stand for the spans, in this order: T5's own."""


class SpanCorruption(EncoderDecoder):
    """The text is a row without its special tokens: documents follow each other, as in T5's own training."""

    special_tokens = SENTINELS
    answerer = "dlib.generation.writing:SpanFiller"
    card: ClassVar[Mapping[str, str]] = {"kind": "denoising encoder-decoder", "pipeline_tag": "text2text-generation"}

    @cached_property
    def sentinel_ids(self) -> np.ndarray:
        """The ids of the sentinels, in their order."""
        return np.array(self.tokenizer.convert_tokens_to_ids([*SENTINELS]), dtype=np.int64)

    def rows(self, store: TokenStore, max_length: int) -> RowSource | None:
        """Rows as other objectives have them.

        Raises:
            UserError: a row would have more spans than there are sentinels.
        """
        if self.count(max_length)[1] > len(SENTINELS):
            raise UserError(
                f"--max_length {max_length}: its rows would have more spans than the {len(SENTINELS)} for which "
                "there are tokens; give less, or more --mean_span_length"
            )
        return None

    def count(self, length: int) -> tuple[int, int]:
        """How many tokens of a text of so many are left out, and in how many spans; some stay before each of them."""
        if length < 2:
            return 0, 0
        left_out = min(max(round(length * self.args.noise_density), 1), length - 1)
        spans = max(round(left_out / self.args.mean_span_length), 1)
        return left_out, min(spans, left_out, length - left_out)

    def text(self, sample: Sample) -> np.ndarray:
        """The tokens of a row that stand for text (T,)."""
        return sample.ids[~np.isin(sample.ids, [*self.roles.special_ids])]

    def weight(self, sample: Sample) -> int:
        """The target's tokens: what is left out, a sentinel a span, and the end."""
        return sum(self.count(len(self.text(sample)))) + 1

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Leave spans out, each row by a generator of its own key."""
        pairs = [self.corrupt(self.text(sample), keyed_generator("spans", *sample.key)) for sample in samples]
        sources, targets = zip(*pairs, strict=True)
        return self.stack(sources, targets)

    def corrupt(self, text: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Turn a text (T,) into a source (S,) and a target."""
        left_out, spans = self.count(len(text))
        source, target = [], []
        ends = zip(divide(len(text) - left_out, spans, generator), divide(left_out, spans, generator), strict=True)
        start = 0
        for sentinel_id, (num_kept, num_left_out) in zip(self.sentinel_ids[:spans], ends, strict=True):
            stop = start + num_kept
            source += [text[start:stop], [sentinel_id]]
            start = stop + num_left_out
            target += [[sentinel_id], text[stop:start]]
        end = [self.roles.separator_id]
        return np.concatenate([*source, text[start:], end]), np.concatenate([*target, end])


def divide(total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """Divide a number of tokens into parts of at least one, each way as likely as any other (parts,)."""
    if parts == 0:
        return np.zeros(0, dtype=np.int64)
    cuts = np.sort(generator.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(cuts, prepend=0, append=total)
