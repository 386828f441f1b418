"""Real tokenizers, trained on the spot, and a store of a small text."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dlib.data.token_store import TokenStore, build_token_store

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "Größe und Maß: 漢字 and emoji 🙂🙃 stand in one line with NUL \x00 and more.",
    "A tokenizer that is trained on the spot knows few words; it knows all bytes.",
]
SPECIAL_TOKENS = ["<s>", "</s>", "<pad>"]
SEPARATOR_ID = 1


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: each text comes back from its ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")


@pytest.fixture(scope="session")
def word_tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece as in BERT: lower case, blanks vanish."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=["[UNK]", "[SEP]", "[PAD]"])
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, sep_token="[SEP]", unk_token="[UNK]")


@pytest.fixture(scope="session")
def big_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 2.5 MB of lines of all lengths, enough for several processes."""
    randomness = random.Random(1)
    lines = [" ".join(randomness.choices(SENTENCES, k=randomness.randint(0, 4))) for _ in range(16_000)]
    file = tmp_path_factory.mktemp("text") / "train.txt"
    file.write_text("\n".join(lines), encoding="utf-8", newline="")
    assert file.stat().st_size > 2 * 1024 * 1024
    return file


@pytest.fixture
def make_store(tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast) -> Callable[[str], TokenStore]:
    """Builds the store of a text with the byte-level tokenizer."""

    def make(text: str) -> TokenStore:
        file = tmp_path / "toy.txt"
        file.write_bytes(text.encode())
        return build_token_store(file, byte_tokenizer, separator_id=SEPARATOR_ID, cache_dir=tmp_path / "cache")

    return make
