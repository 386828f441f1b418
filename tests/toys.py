"""Toys that are real: tokenizers trained on the spot, networks of a few thousand weights, rows in a list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from dlib.args import ObjectiveArgs
from dlib.args.tables import OPTIMIZERS
from dlib.data.samples import Sample, SampleKey
from dlib.data.token_roles import TokenRoles
from dlib.objectives import build_objective
from dlib.objectives.token_prediction import TokenPrediction
from dlib.process import versions
from dlib.process.versions import MODEL_TYPES, dtype_option, has

torch.set_num_threads(1)  # toys are too small to share out, and the machine may be busy

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind the jumping.",
    "Größe und Maß: 漢字 and emoji 🙂🙃 stand in one line with NUL \x00 and more.",
    "A tokenizer that is trained on the spot knows few words; it knows all bytes.",
    "Whoever tokenizes unforeseeable words divides them into unforgettably many pieces.",
]
VOCAB_SIZE = 64
LEAD, PAD, SEPARATOR, UNKNOWN, MASK = range(5)
POSITIONS = 32
SPECIAL: dict[str, Any] = {"bos_token_id": LEAD, "pad_token_id": PAD, "eos_token_id": SEPARATOR}
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
BERT_SIZES: dict[str, Any] = {**SIZES, **SPECIAL, "vocab_size": VOCAB_SIZE, "max_position_embeddings": POSITIONS + 2}

MASKED_CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "roberta": lambda: transformers.RobertaConfig(**BERT_SIZES, type_vocab_size=1),
    "bert": lambda: transformers.BertConfig(**BERT_SIZES),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=VOCAB_SIZE,
        dim=16,
        n_layers=2,
        n_heads=2,
        hidden_dim=24,
        max_position_embeddings=34,
        pad_token_id=PAD,
    ),
    "electra": lambda: transformers.ElectraConfig(**BERT_SIZES, embedding_size=12),
}
if has(MODEL_TYPES["modernbert"]):
    MASKED_CONFIGS["modernbert"] = lambda: transformers.ModernBertConfig(  # type: ignore[call-arg]
        **BERT_SIZES, cls_token_id=LEAD, sep_token_id=SEPARATOR, global_attn_every_n_layers=2, local_attention=8
    )
CAUSAL_CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "gpt2": lambda: transformers.GPT2Config(
        **SPECIAL, vocab_size=VOCAB_SIZE, n_embd=16, n_layer=2, n_head=2, n_positions=POSITIONS
    ),
    "llama": lambda: transformers.LlamaConfig(**BERT_SIZES, num_key_value_heads=1),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**BERT_SIZES),
    "opt": lambda: transformers.OPTConfig(
        **SPECIAL,
        vocab_size=VOCAB_SIZE,
        hidden_size=16,
        word_embed_proj_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=24,
        max_position_embeddings=POSITIONS,
    ),
}
OPTIMIZERS_THERE = [name for name in OPTIMIZERS if has(versions.OPTIMIZERS.get(name, {}))]


def build_toy(
    name: str, *, dtype: torch.dtype = torch.float32, dropout: bool = False, seed: int = 1
) -> PreTrainedModel:
    """A network of `MASKED_CONFIGS` or `CAUSAL_CONFIGS`, drawn anew, in evaluation mode."""
    masked = name in MASKED_CONFIGS
    config = (MASKED_CONFIGS if masked else CAUSAL_CONFIGS)[name]()
    if not dropout:
        remove_dropout(config)
    auto_model = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    torch.manual_seed(seed)
    return auto_model.from_config(config, **dtype_option(dtype)).eval()


def remove_dropout(config: PretrainedConfig) -> None:
    """Set all that a configuration calls dropout to 0."""
    for field, value in config.to_dict().items():
        if isinstance(value, float) and ("dropout" in field or "pdrop" in field):
            setattr(config, field, 0.0)


def toy_roles(*, mask_id: int | None = MASK, vocab_size: int = VOCAB_SIZE, starts_every: int = 2) -> TokenRoles:
    """Roles of a vocabulary whose ids 0 to 4 are special and every `starts_every`-th of which starts a word."""
    return TokenRoles(
        lead_id=LEAD,
        separator_id=SEPARATOR,
        pad_id=PAD,
        mask_id=mask_id,
        special_ids=frozenset(range(5)),
        starts_word=np.arange(vocab_size) % starts_every == 0,
        name="toy",
    )


def token_prediction(kind: str, **args: Any) -> TokenPrediction:
    """The objective `mlm` or `clm`, with its arguments, for the toy vocabulary."""
    objective = build_objective(ObjectiveArgs(objective=kind, **args), toy_roles())
    assert isinstance(objective, TokenPrediction)
    return objective


def toy_row(length: int, seed: int = 0) -> np.ndarray:
    """A row (length,): the lead token, then ordinary tokens."""
    ordinary = np.random.default_rng([seed, length]).integers(5, VOCAB_SIZE, length - 1)
    return np.concatenate([[LEAD], ordinary]).astype(np.int64)


@dataclass(frozen=True)
class ListRows:
    """Rows in a list."""

    rows: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        return Sample((self.rows[index],), number=index, key=key)

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.rows))


def unequal_rows(count: int, longest: int = 24) -> ListRows:
    """Rows of all lengths, from 2 up."""
    lengths = np.random.default_rng(count).integers(2, longest + 1, count)
    return ListRows([toy_row(int(length), seed) for seed, length in enumerate(lengths)])


def train_wordpiece() -> PreTrainedTokenizerFast:
    """BERT-like: continuations are marked with ##."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=160, special_tokens=special))
    return wrap(
        tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    )


def train_metaspace() -> PreTrainedTokenizerFast:
    """SentencePiece-like: words begin with ▁."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>", "<mask>"]
    tokenizer.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=160, special_tokens=special))
    return wrap(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", mask_token="<mask>")


def train_gpt2_like(**special: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose one special token begins, ends and stands for the unknown, as GPT-2's does."""
    end = "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=[end, *special.values()], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return wrap(tokenizer, bos_token=end, eos_token=end, unk_token=end, **special)


def wrap(tokenizer: Tokenizer, **options: Any) -> PreTrainedTokenizerFast:
    """A tokenizer as transformers has it."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)
