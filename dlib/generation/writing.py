"""Lines that an encoder-decoder answers: translated, corrected, summarized; or gaps in them filled.

Letters: B lines, T tokens that are written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args.generation import GenerationArgs
from dlib.data.samples import Sample
from dlib.objectives.answering import RowAnswerer
from dlib.objectives.encoder_decoder import NO_TARGET, token_losses
from dlib.objectives.seq2seq import frame_of, generate_tokens

DEFAULT_NEW_TOKENS = 128
GAP = re.compile(r"( ?)(<extra_id_\d+>)")
"""A sentinel of T5's, and the space before it."""


@dataclass(frozen=True)
class WrittenLine:
    """A line and what the model makes of it."""

    line: str
    written: str
    score: float | None  # mean log-probability of its tokens, in nats; None where it was not asked for

    @property
    def text(self) -> str:
        """What comes out as plain text."""
        return self.written if self.score is None else f"{self.written}\t{self.score:.4f}"


class Writer(RowAnswerer):
    """Writes what is likeliest to belong to a line."""

    options = ("max_new_tokens", "num_beams", "scores")

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int, args: GenerationArgs
    ) -> None:
        """Frame lines as in training."""
        super().__init__(model, tokenizer, context, args)
        self.frame = frame_of(tokenizer, self.roles)

    def answer_batch(self, lines: Sequence[str], inputs: Mapping[str, Tensor]) -> Sequence[WrittenLine]:
        """What is written for some lines."""
        length = self.args.max_new_tokens or DEFAULT_NEW_TOKENS
        tokens = generate_tokens(self.model, inputs, length, self.args.num_beams)
        texts = map(self.decode, lines, tokens.tolist())
        scores = self.scores(inputs, tokens) if self.args.scores else [None] * len(lines)
        return [*map(WrittenLine, lines, texts, scores)]

    def decode(self, line: str, tokens: Sequence[int]) -> str:
        """The text of what was written for a line (1 + T,)."""
        return str(self.tokenizer.decode([*tokens], skip_special_tokens=True))

    def scores(self, inputs: Mapping[str, Tensor], tokens: Tensor) -> list[float]:
        """Mean log-probability of the tokens (B, 1 + T) of each line, up to the first one that ends a text (B,)."""
        labels = tokens[:, 1:].clone()
        is_end = labels == self.frame.end[-1]
        labels[is_end.cumsum(1) - is_end.long() > 0] = NO_TARGET
        losses, _ = token_losses(self.model, {**inputs, "labels": labels})
        found: list[float] = (-losses.sum(1) / (labels != NO_TARGET).sum(1).clamp(min=1)).tolist()
        return found


class SpanFiller(Writer):
    """Fills the gaps of a line, `<extra_id_0>`, `<extra_id_1>` and so on; one for which nothing is written is empty."""

    def read(self, lines: Sequence[str]) -> Sequence[Sample]:
        """Lines without the spaces before gaps: a word begins with its own, and it is the gap's."""
        return super().read([GAP.sub(r"\2", line) for line in lines])

    def decode(self, line: str, tokens: Sequence[int]) -> str:
        """The line with its gaps filled."""
        gaps = {self.tokenizer.convert_tokens_to_ids(name): name for _, name in GAP.findall(line)}
        written: dict[str, list[int]] = {}
        gap = ""
        for token in tokens:
            gap = gaps.get(token, gap)
            written.setdefault(gap, []).append(token)

        def fill(found: re.Match[str]) -> str:
            return found[1] + super(SpanFiller, self).decode(line, written.get(found[2], [])).strip()

        return GAP.sub(fill, line)
