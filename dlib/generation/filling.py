"""Fill the masks of lines: the likeliest tokens for each, and the line with them put in.

    line --split--> parts around the masks --encode--> ids --rows--> what the model reads --> guesses --put_in--> line

Letters: B rows, T tokens a row, K masks in all rows, V vocabulary size.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args.generation import GenerationArgs
from dlib.data.token_roles import START_MARKS, find_frame, first_id, num_ids, word_starts
from dlib.data.unknown_words import encode
from dlib.generation.line_batches import by_length, padded
from dlib.objectives.token_prediction import predict_at
from dlib.process.errors import UserError

Guesses = list[tuple[int, float]]
"""The likeliest tokens for a mask as (id, probability), likeliest first."""

DEFAULT_GUESSES = 5
MASK_WORDS = ("<mask>", "[MASK]")
"""Stand for a mask beside the tokenizer's own word for it, so that a line need not know the model."""


@dataclass(frozen=True)
class Filling:
    """One guess for a mask: the token as text, and its probability."""

    token: str
    probability: float


@dataclass(frozen=True)
class FilledLine:
    """A line and what stands behind its masks."""

    line: str  # as it was given
    filled: str  # the line with the likeliest token for each mask; the line itself where it has no mask
    masks: list[list[Filling]]  # for each mask its guesses, likeliest first

    @property
    def text(self) -> str:
        """What comes out as plain text."""
        return self.filled


@dataclass(frozen=True)
class MaskedRow:
    """A stretch of a line that the model reads at once."""

    line: int  # index of its line
    ids: list[int]  # its tokens, special ones around it
    positions: list[int]  # where the masks are whose tokens are wanted; those of a line come in their order


class MaskFiller:
    """A masked language model that fills lines.

    Each mask is filled by itself: it sees the others of its line as masks. Special tokens are no guesses. Of a line
    that is longer than what the model reads at once, it reads windows, each around a mask or several near each other.
    """

    options = ("top_k",)

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int, args: GenerationArgs
    ) -> None:
        """Take a model in evaluation mode, on its device, its tokenizer, and how many tokens it reads at once.

        Raises:
            UserError: the tokenizer has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise UserError(f"{tokenizer.name_or_path}: its tokenizer has no mask token, so there is nothing to fill")
        self.model, self.tokenizer, self.batch_size = model, tokenizer, args.batch_size
        self.frame = find_frame(tokenizer)
        self.room = max(1, context - len(self.frame.start) - len(self.frame.end))
        words = sorted({*MASK_WORDS, tokenizer.mask_token}, key=len, reverse=True)
        self.mask_word = re.compile("|".join(map(re.escape, words)))
        self.pad_id = first_id(tokenizer.pad_token_id, tokenizer.eos_token_id) or 0
        self.starts_word = word_starts(tokenizer)
        self.is_guess = torch.zeros(model.config.vocab_size, dtype=torch.bool, device=model.device)
        self.is_guess[: num_ids(tokenizer)] = True  # a table may be larger than the vocabulary
        self.is_guess[tokenizer.all_special_ids] = False
        self.top_k = min(args.top_k or DEFAULT_GUESSES, int(self.is_guess.sum()))
        self.texts: dict[int, str] = {}

    def answer(self, lines: Sequence[str], first_number: int) -> list[FilledLine]:
        """Fill the lines; nothing is drawn, so that their numbers, from `first_number` on, mean nothing here."""
        parts = [self.mask_word.split(line) for line in lines]
        masked = [index for index, its_parts in enumerate(parts) if len(its_parts) > 1]
        ids = encode(self.tokenizer, [self.tokenizer.mask_token.join(parts[index]) for index in masked])
        rows = [row for index, tokens in zip(masked, ids, strict=True) for row in self.rows_of(index, tokens)]
        found: dict[int, list[Guesses]] = {}
        for batch in by_length([len(row.ids) for row in rows], self.batch_size):
            found.update(zip(batch, self.guess([rows[index] for index in batch]), strict=True))
        masks: list[list[Guesses]] = [[] for _ in lines]
        for index, row in enumerate(rows):
            masks[row.line] += found[index]
        return [self.fill(*of_one) for of_one in zip(lines, parts, masks, strict=True)]

    def rows_of(self, line: int, ids: Sequence[int]) -> list[MaskedRow]:
        """What the model reads of a line: all of it, or windows that each have masks around their middle."""
        masks = [position for position, token in enumerate(ids) if token == self.tokenizer.mask_token_id]
        groups = [masks] if len(ids) <= self.room else group_near(masks, self.room // 2)
        rows = []
        for group in groups:
            start = max(0, min((group[0] + group[-1]) // 2 - self.room // 2, len(ids) - self.room))
            tokens = [*self.frame.start, *ids[start : start + self.room], *self.frame.end]
            rows.append(MaskedRow(line, tokens, [mask - start + len(self.frame.start) for mask in group]))
        return rows

    @torch.no_grad()
    def guess(self, rows: Sequence[MaskedRow]) -> list[list[Guesses]]:
        """The guesses for each mask of each row."""
        input_ids, attention_mask = padded([row.ids for row in rows], self.pad_id, self.model.device, left=False)
        width = input_ids.shape[1]
        positions = [index * width + position for index, row in enumerate(rows) for position in row.positions]
        flat = torch.tensor(positions, device=self.model.device)
        mask = None if attention_mask.all() else attention_mask  # kernels are faster without one
        logits: Tensor = predict_at(self.model, input_ids, flat, mask).float()  # (K, V)
        best = logits.masked_fill(~self.is_guess, -torch.inf).softmax(-1).topk(self.top_k)
        guesses = (
            list(zip(*of_mask, strict=True))
            for of_mask in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        )
        return [[next(guesses) for _ in row.positions] for row in rows]

    def fill(self, line: str, parts: Sequence[str], masks: Sequence[Guesses]) -> FilledLine:
        """A line with its guesses, the best of them put in."""
        filled = parts[0]
        for guesses, part in zip(masks, parts[1:], strict=True):
            filled = self.put_in(filled, guesses[0][0]) + part
        fillings = [[Filling(self.text_of(token), probability) for token, probability in guesses] for guesses in masks]
        return FilledLine(line, filled, fillings)

    def put_in(self, before: str, token: int) -> str:
        """A text and a token after it, a space between them where the token starts a word.

        Tokenizers that mark what starts a word (Ġ, ▁) say whether there is a space, and their mask takes the one before
        it. Those that mark what does not (##) leave it to the text, which may be one without spaces.
        """
        word = self.text_of(token).strip().removeprefix("##")
        if not before.strip():
            return before + word
        if not self.starts_word[token]:
            return before.rstrip() + word
        is_marked = str(self.tokenizer.convert_ids_to_tokens(token)).startswith(START_MARKS)
        return before + (" " if is_marked and not before[-1].isspace() else "") + word

    def text_of(self, token: int) -> str:
        """A token as text."""
        if token not in self.texts:
            self.texts[token] = str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return self.texts[token]


def group_near(positions: Sequence[int], span: int) -> list[list[int]]:
    """Ascending positions in groups, none of which is wider than `span`."""
    groups: list[list[int]] = []
    for position in positions:
        if groups and position - groups[-1][0] <= span:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups
