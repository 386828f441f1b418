"""Real tokenizers, trained on the spot, and a store of a small text."""

import pkgutil
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dlib.data.lines import RANGE_BYTES, ByteRange, Piece, document_ranges
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.token_store import TokenStore, build_token_store

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "Größe und Maß: 漢字 and emoji 🙂🙃 stand in one line with NUL \x00 and more.",
    "A tokenizer that is trained on the spot knows few words; it knows all bytes.",
]
SPECIAL_TOKENS = ["<s>", "</s>", "<pad>"]
SEPARATOR_ID = 1
TIMES_SMALLER = 16
SMALL_RANGE_BYTES = RANGE_BYTES // TIMES_SMALLER
SIZES = {
    name: pkgutil.resolve_name(name) // TIMES_SMALLER
    for name in (
        "dlib.data.lines:PIECE_BYTES",
        "dlib.data.passages:PIECE_BYTES",
        "dlib.data.token_parts:PIECE_BYTES",
        "dlib.data.shards:RANGE_BYTES",
        "dlib.data.tokenizing:BATCH_CHARACTERS",
        "dlib.data.tokenizing_processes:SMALL_TEXT_BYTES",
    )
}
SERVE = f"""
import importlib
for name, size in {SIZES}.items():
    module, _, name = name.partition(":")
    setattr(importlib.import_module(module), name, size)
importlib.import_module("dlib.data.tokenizing_processes").serve()
"""
"""What a tokenizing process runs that has the sizes of `small_ranges`."""


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


def write_lines(file: Path, count: int) -> Path:
    """Writes lines of all lengths, some 160 bytes each."""
    randomness = random.Random(1)
    written = (" ".join(randomness.choices(SENTENCES, k=randomness.randint(0, 4))) for _ in range(count))
    file.write_text("\n".join(written), encoding="utf-8", newline="")
    return file


@pytest.fixture(scope="session")
def big_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of three ranges, enough for several processes, which take long enough to be caught at it."""
    file = write_lines(tmp_path_factory.mktemp("text") / "train.txt", 16_000)
    assert file.stat().st_size > 2 * RANGE_BYTES
    return file


@pytest.fixture(scope="session")
def long_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of three of the `small_ranges`."""
    file = write_lines(tmp_path_factory.mktemp("text") / "train.txt", 1000)
    assert file.stat().st_size > 2 * SMALL_RANGE_BYTES
    return file


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> int:
    """The bytes of a range, and of a piece of a line, for this test and its processes; a text is large from two on."""
    for name, size in SIZES.items():
        monkeypatch.setattr(name.replace(":", "."), size)
    monkeypatch.setattr("dlib.data.tokenizing_processes.WORKER", [sys.executable, "-c", SERVE])
    return SMALL_RANGE_BYTES


@pytest.fixture
def make_store(tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast) -> Callable[[str], TokenStore]:
    """Builds the store of a text with the byte-level tokenizer."""

    def make(text: str) -> TokenStore:
        file = tmp_path / "toy.txt"
        file.write_bytes(text.encode())
        return build_token_store(file, byte_tokenizer, separator_id=SEPARATOR_ID, cache_dir=tmp_path / "cache")

    return make


@pytest.fixture
def build(tmp_path: Path, byte_tokenizer: PreTrainedTokenizerFast) -> Callable[..., TokenStore]:
    """Builds the store of a file with the byte-level tokenizer."""

    def build_store(file: Path, columns: Columns = TEXT_ONLY, **options: object) -> TokenStore:
        cache = tmp_path / "cache"
        return build_token_store(file, byte_tokenizer, separator_id=1, cache_dir=cache, columns=columns, **options)  # type: ignore[arg-type]

    return build_store


def put_together(file: Path, range_bytes: int, read: Callable[[ByteRange], Iterable[Piece]]) -> list[str]:
    """The documents of a file, put together from the pieces of its ranges."""
    whole, unfinished = [], ""
    for byte_range in document_ranges(file, range_bytes):
        for piece in read(byte_range):
            unfinished += piece.text
            if piece.ends_line:
                whole.append(unfinished)
                unfinished = ""
        assert not unfinished, "a range ended within a document"
    return whole
