"""The types of tokenizer that can be trained, a function each: how a text is cut, and what is learned of it.

Each gives the same tokenizer for the same texts, always, which the trainers of the library do not promise.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from dlib.args.model import MOST_IDS, ModelArgs
from dlib.process.errors import UserError

SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
"""Special tokens of a trained tokenizer, by role; their ids are 0 to 4, as in RoBERTa."""
UNKNOWN = SPECIAL_TOKENS["unk_token"]
SCORE_DECIMALS, SCORE_STEP = 6, 1e-4
"""Of the logarithm of a probability: what is kept of it, and by how much the trainer spreads rare characters."""

Texts = Callable[[], Iterator[str]]
"""The training texts, from their beginning at each call."""


@dataclass(frozen=True)
class TokenizerKind:
    """What is trained, but for its size; see `ModelArgs`."""

    tokenizer_type: str = ModelArgs.tokenizer_type
    special_tokens: tuple[str, ...] = ()
    unknown_token: str = ModelArgs.unknown_token
    leads: bool = True  # whether the lead token stands before a text

    @classmethod
    def of(cls, args: ModelArgs, *, leads: bool = True) -> "TokenizerKind":
        """What a run's arguments ask for, and its objective."""
        return cls(args.tokenizer_type, tuple(dict.fromkeys(args.special_tokens)), args.unknown_token, leads)

    @property
    def roles(self) -> dict[str, str]:
        """The special tokens by role. Where an unknown word is an error, no token stands for one."""
        knows_all = self.tokenizer_type == "whitespace" and self.unknown_token == "error"
        return {role: token for role, token in SPECIAL_TOKENS.items() if not (knows_all and role == "unk_token")}

    @property
    def first_tokens(self) -> list[str]:
        """Those of the roles, then the user's own; their ids count from 0."""
        return [*self.roles.values(), *self.special_tokens]


def train_kind(texts: Texts, vocab_size: int, kind: TokenizerKind, *, open_ended: bool) -> PreTrainedTokenizerFast:
    """Train a tokenizer; an `open_ended` one puts no token at the end of a text.

    Raises:
        UserError: the vocabulary has no room for what the texts need, or a special token is there already.
    """
    if twice := [token for token in kind.special_tokens if token in SPECIAL_TOKENS.values()]:
        raise UserError(f"--special_tokens {twice[0]}: every trained tokenizer has it; leave it out")
    tokenizer = _without_added(TOKENIZER_TYPES[kind.tokenizer_type](texts, vocab_size, kind))
    if tokenizer.get_vocab_size() > vocab_size:
        raise no_room(vocab_size, kind, tokenizer.get_vocab_size())
    # As in RoBERTa the mask takes the space before it, where words begin with theirs.
    takes_space = kind.tokenizer_type not in ("wordpiece", "whitespace")
    mask = AddedToken(SPECIAL_TOKENS["mask_token"], lstrip=takes_space, special=True)
    tokenizer.add_special_tokens([*kind.roles.values()])
    tokenizer.add_special_tokens([mask])
    # The user's are never split, and text like any other besides: they are masked, predicted, and written.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in kind.special_tokens])
    bos, eos = SPECIAL_TOKENS["bos_token"], SPECIAL_TOKENS["eos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join([bos] * kind.leads + ["$A"] + [eos] * (not open_ended)),
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (bos, eos)],
    )
    roles = {**kind.roles, "cls_token": bos, "sep_token": eos, "mask_token": mask}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles, clean_up_tokenization_spaces=False)


def no_room(vocab_size: int, kind: TokenizerKind, needed: int | None = None) -> UserError:
    """The error for a vocabulary that cannot hold what it must, which takes `needed` tokens."""
    what, instead = "characters", "--tokenizer_type byte_level_bpe"
    if kind.tokenizer_type == "whitespace":
        what, instead = "words", "--unknown_token token, which keeps the most frequent ones"
    number = "" if needed is None else f", which takes {needed:,}"
    return UserError(
        f"--vocab_size {vocab_size}: no room for all {what} of the text{number}; raise it, or take {instead}"
    )


def train_byte_level_bpe(texts: Texts, vocab_size: int, kind: TokenizerKind) -> Tokenizer:
    """Pairs of bytes, merged: any text comes back from its tokens, and none is unknown (Radford et al. 2019)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=kind.first_tokens,  # in this order: their ids
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def train_bpe(texts: Texts, vocab_size: int, kind: TokenizerKind) -> Tokenizer:
    """Pairs of characters, merged (Sennrich et al. 2016); a character that the texts have not is unknown."""
    tokenizer = _with_marked_spaces(models.BPE(unk_token=UNKNOWN))
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=kind.first_tokens, show_progress=False)
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def train_wordpiece(texts: Texts, vocab_size: int, kind: TokenizerKind) -> Tokenizer:
    """BERT's, in upper and lower case (Devlin et al. 2019): punctuation stands alone, ## goes on with a word.

    The trainer numbers the characters after ## in an order that chance decides, and merges equally frequent pairs in
    the order of these numbers. So the characters are found first, and get their numbers here.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(texts(), trainers.WordPieceTrainer(vocab_size=0, show_progress=False))
    marked = sorted(token for token in tokenizer.get_vocab() if token.startswith("##"))
    first = [*kind.first_tokens, *marked]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=first, show_progress=False)
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def train_unigram(texts: Texts, vocab_size: int, kind: TokenizerKind) -> Tokenizer:
    """The likeliest pieces (Kudo 2018); a character that the texts have not is unknown.

    The trainer sums in an order that chance decides, and gives the rarest characters the smallest scores in such an
    order. So scores are rounded, these characters share the smallest, and the pieces are put in order.
    """
    tokenizer = _with_marked_spaces(models.Unigram())
    first = kind.first_tokens
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=first, unk_token=UNKNOWN, show_progress=False
    )
    try:
        tokenizer.train_from_iterator(texts(), trainer)
    except Exception as error:  # the library raises nothing narrower
        if "not large enough" not in str(error):
            raise
        raise no_room(vocab_size, kind) from error
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"][len(first) :]
    least = min((score for _, score in pieces), default=0.0)
    rare = least + SCORE_STEP * sum(len(piece) == 1 for piece, _ in pieces)
    scores = {
        piece: round(least if len(piece) == 1 and score < rare else score, SCORE_DECIMALS) for piece, score in pieces
    }
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    tokenizer.model = models.Unigram([*((token, 0.0) for token in first), *ordered], first.index(UNKNOWN))
    return tokenizer


def train_whitespace(texts: Texts, vocab_size: int, kind: TokenizerKind) -> Tokenizer:
    """The words between blanks, the most frequent ones where a token stands for the others, else all of them."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size if UNKNOWN in kind.first_tokens else MOST_IDS,
        special_tokens=kind.first_tokens,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def _with_marked_spaces(model: models.Model) -> Tokenizer:
    """A tokenizer whose words carry the space before them as ▁, as in SentencePiece; a first word has one, too."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _without_added(trained: Tokenizer) -> Tokenizer:
    """The same without added tokens: all that stood first in training would stay special."""
    tokenizer = Tokenizer(trained.model)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if getattr(trained, part) is not None:
            setattr(tokenizer, part, getattr(trained, part))
    return tokenizer


TOKENIZER_TYPES: dict[str, Callable[[Texts, int, TokenizerKind], Tokenizer]] = {
    "byte_level_bpe": train_byte_level_bpe,
    "bpe": train_bpe,
    "wordpiece": train_wordpiece,
    "unigram": train_unigram,
    "whitespace": train_whitespace,
}
"""What `--tokenizer_type` names."""
