"""Masked language modeling: hide some tokens of a row and predict them from both sides.

Devlin et al. 2019, "BERT", section 3.1: of the chosen tokens 80 % become the mask token, 10 % a random
token, 10 % stay. The number chosen is exact for every row, which makes the number of target tokens of
an optimizer step known before any of its forward passes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from dlib.args import ObjectiveArgs
from dlib.data.samples import Sample
from dlib.data.token_roles import TokenRoles
from dlib.data.token_store import TokenStore
from dlib.objectives.objective import FurtherEvaluation
from dlib.objectives.pseudo_perplexity import MaskedInTurn
from dlib.objectives.token_prediction import TokenPrediction
from dlib.process.errors import UserError
from dlib.process.seeding import keyed_generator

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1
PREDICTION = ("auto_model", "collate", "predictions", "evaluate", "sums", "metrics")
"""What a pseudo-perplexity is made of; which tokens a subclass hides, and what it learns besides, do not change it."""


class MaskedLanguageModeling(TokenPrediction):
    """Fill in masked tokens."""

    auto_model = "AutoModelForMaskedLM"
    measures: ClassVar[tuple[str, ...]] = ("pseudo_perplexity",)
    answerer = "dlib.generation.filling:MaskFiller"
    card: ClassVar[Mapping[str, str]] = {"kind": "masked language model", "pipeline_tag": "fill-mask"}

    def __init__(
        self, args: ObjectiveArgs, roles: TokenRoles, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> None:
        """Build the tables of ordinary tokens.

        Raises:
            UserError: the tokenizer has no mask token.
        """
        super().__init__(args, roles, tokenizer)
        if roles.mask_id is None:
            raise UserError(
                f"--objective {args.objective} needs a mask token and {roles.name} has none; use --objective clm"
            )
        self.mask_id = roles.mask_id
        self.is_special = np.zeros(roles.vocab_size, dtype=bool)
        self.is_special[list(roles.special_ids)] = True
        self.ordinary_ids = np.flatnonzero(~self.is_special)

    def count_targets(self, row: np.ndarray) -> int:
        """The fraction of the row's length, rounded, at least 1 and at most all its ordinary tokens."""
        wanted = max(1, round(self.args.mask_fraction * len(row)))
        return min(wanted, len(row) - int(self.is_special[row].sum()))

    def prepare(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Choose and hide tokens, with a generator of the sample's own key."""
        row = sample.ids
        generator = keyed_generator("mask", *sample.key)
        candidates = np.flatnonzero(~self.is_special[row])
        choose = choose_words if self.args.whole_word_masking else choose_tokens
        count = self.count_targets(row)
        positions = choose(candidates, count, self.roles.starts_word[row], generator)
        return self._hide(row, positions, generator), positions, row[positions]

    def _hide(self, row: np.ndarray, positions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Replace the tokens at `positions` by mask (80 %), a random token (10 %) or themselves."""
        draws = generator.random(len(positions))
        random_ids = generator.choice(self.ordinary_ids, len(positions))
        hidden = row.copy()
        hidden[positions] = np.where(
            draws < MASKED_SHARE,
            self.mask_id,
            np.where(draws < MASKED_SHARE + RANDOM_SHARE, random_ids, row[positions]),
        )
        return hidden

    def further_evaluations(
        self, store: TokenStore, max_length: int, options: Mapping[str, Any]
    ) -> Sequence[FurtherEvaluation]:
        """Pseudo-perplexity: each token masked in turn.

        Raises:
            UserError: a subclass predicts or measures in another way, of which `PredictionInTurn` knows nothing.
        """
        if not options["pseudo_perplexity"]:
            return ()
        own = [name for name in PREDICTION if getattr(type(self), name) != getattr(MaskedLanguageModeling, name)]
        if own:
            raise UserError(
                f"--pseudo_perplexity: {self.args.objective} has its own {', '.join(own)}, and this would be measured "
                "with mlm's; leave it out, or write its further_evaluations"
            )
        rows = MaskedInTurn(store, max_length, self.roles, options["max_documents"])
        return [FurtherEvaluation("pseudo_", ("loss", "perplexity"), rows, PredictionInTurn(self.args, self.roles))]


class PredictionInTurn(MaskedLanguageModeling):
    """Predict, in each row, the one token whose turn it is."""

    def weight(self, sample: Sample) -> int:
        """That token."""
        return 1

    def prepare(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The row with that token masked. Nothing is drawn."""
        row, position = sample.ids, sample.fields["target"]
        hidden = row.copy()
        hidden[position] = self.mask_id
        return hidden, np.array([position]), row[position : position + 1]


def choose_tokens(
    candidates: np.ndarray, count: int, starts_word: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Choose `count` of the candidate positions, each as likely as any other; sorted (count,)."""
    return np.sort(generator.permutation(candidates)[:count])


def choose_words(
    candidates: np.ndarray, count: int, starts_word: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Choose `count` positions word by word; sorted (count,).

    Words are taken in random order while they fit; the first that does not fit is cut, so that the
    number stays exact. A word ends where the next one starts or where a special token stands.

    Args:
        candidates: positions of the row's ordinary tokens, ascending (n,).
        count: number of positions to choose, at most n.
        starts_word: for each position of the row whether its token starts a word (T,).
        generator: source of randomness.
    """
    is_first = starts_word[candidates] | (np.diff(candidates, prepend=-2) > 1)
    words = np.split(candidates, np.flatnonzero(is_first)[1:] if len(candidates) and is_first[0] else [])
    chosen: list[np.ndarray] = []
    missing = count
    for index in generator.permutation(len(words)):
        if missing == 0:
            break
        chosen.append(words[index][:missing])
        missing -= len(chosen[-1])
    return np.sort(np.concatenate(chosen)) if chosen else candidates[:0]
