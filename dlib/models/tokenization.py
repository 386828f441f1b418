"""Which tokenizer a run uses: loaded, or trained on its text."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple
from functools import partial
from pathlib import Path

from filelock import FileLock
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dlib.args import ExperimentArgs
from dlib.args.model import MOST_IDS
from dlib.args.tables import MODELS
from dlib.data.filtering import DocumentSieve
from dlib.data.fingerprint import text_sha256
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.shards import num_bytes_of, shards_of, text_reader_sha256
from dlib.data.splitting import filter_of
from dlib.data.text import iterate_documents
from dlib.data.token_roles import num_ids
from dlib.models.hub import explain_loading
from dlib.models.pretrained import read_tokenizer
from dlib.models.sources import has_tokenizer
from dlib.models.tokenizer_types import TokenizerKind, train_kind
from dlib.process.durable import refusals_told, sync, sync_tree
from dlib.process.errors import UserError
from dlib.process.progress import Progress
from dlib.process.ranks import say
from dlib.process.versions import tokenizer_series

TRAINING_FORMAT = 3
"""Raised whenever the same text and options train another tokenizer."""
TRAINED = "tokenizers"
"""Folder of the cache that holds those that were trained."""
USUAL_KIND = TokenizerKind()
"""What goes without saying in the name of a trained tokenizer, so that those of before are found again."""


def load_tokenizer(name: str, flag: str, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """Load a tokenizer by Hugging Face name or from a local folder; errors name `flag`.

    Raises:
        UserError: it cannot be had, or has too many ids.
    """
    with explain_loading(flag, name):
        tokenizer = read_tokenizer(name, trust_remote_code=trust_remote_code)
    if num_ids(tokenizer) > MOST_IDS:
        raise UserError(
            f"{flag} {name}: its ids go up to {num_ids(tokenizer) - 1:,}; more than {MOST_IDS:,} are refused"
        )
    return tokenizer


def train_tokenizer(
    text_file: Path,
    vocab_size: int,
    encoding_errors: str,
    columns: Columns = TEXT_ONLY,
    document: str = "line",
    kind: TokenizerKind = USUAL_KIND,
    *,
    open_ended: bool,
    further: Sequence[Path] = (),
    sieve: DocumentSieve | None = None,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on a text, or several.

    It has fewer tokens than `vocab_size` where the text is too small for more. An `open_ended` one puts no token at the
    end of a text, so that a prompt stays open.

    Raises:
        UserError: the text cannot be read, or `vocab_size` has no room for what it needs.
    """
    files = (text_file, *further)

    def texts() -> Iterator[str]:
        whole_words = kind.tokenizer_type == "whitespace"
        progress = Progress("Reading for the tokenizer", sum(num_bytes_of(shards_of(file)) for file in files))
        try:
            for file in files:
                reading = encoding_errors, columns, document
                yield from iterate_documents(file, *reading, whole_words=whole_words, sieve=sieve, progress=progress)
        finally:
            progress.close()
        if progress.takes_long:
            say("All is read: now the tokens are chosen, of which nothing is shown")

    return train_kind(texts, vocab_size, kind, open_ended=open_ended)


def build_tokenizer(
    args: ExperimentArgs,
    text_file: Path,
    model_folder: str | None,
    *,
    open_ended: bool,
    leads: bool = True,
    goes_on: bool = False,
    columns: Columns = TEXT_ONLY,
    further: Sequence[Path] = (),
) -> PreTrainedTokenizerBase:
    """The tokenizer of a run: `--tokenizer`, else that of the model's folder, else one trained on the run's texts.

    Without a model there is only the first and the last. A trained one is kept in the cache by the content of the
    texts, and found there again. Where a run `goes_on`, the folder is its own checkpoint, which holds its tokenizer.

    Raises:
        UserError: a tokenizer cannot be had.
    """
    load = partial(load_tokenizer, trust_remote_code=args.model.trust_remote_code)
    if goes_on and model_folder is not None:
        return load(model_folder, "the checkpoint")
    if args.model.tokenizer is not None:
        refuse_training(args, f"--tokenizer {args.model.tokenizer} is there")
        return load(args.model.tokenizer, "--tokenizer")
    if model_folder is not None and brings_tokenizer(model_folder):
        if args.model.checkpoint is not None:
            return load(model_folder, "--checkpoint")
        refuse_training(args, f"{model_folder} brings its own")
        return load(model_folder, "--model")
    folder = trained_tokenizer_folder(args, text_file, columns, open_ended=open_ended, leads=leads, further=further)
    return load(str(folder), "--tokenizer")


def add_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> None:
    """Give a tokenizer special tokens that it has not; the model's embeddings are enlarged for them."""
    vocabulary = tokenizer.get_vocab()
    missing = [AddedToken(token, special=True, normalized=False) for token in tokens if token not in vocabulary]
    tokenizer.add_tokens(missing, special_tokens=True)


def brings_tokenizer(model: str) -> bool:
    """Whether a model, by its name or folder, comes with a tokenizer."""
    return model not in MODELS and (not Path(model).is_dir() or has_tokenizer(Path(model)))


def refuse_training(args: ExperimentArgs, reason: str) -> None:
    """Refuse arguments of a tokenizer that is to be trained where none is."""
    wanted, usual = asdict(TokenizerKind.of(args.model)), asdict(USUAL_KIND)
    if changed := [name for name in wanted if wanted[name] != usual[name]]:
        raise UserError(f"--{changed[0]}: it is for a tokenizer that is trained, and {reason}; leave one out")


def save_whole(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a tokenizer so that a kill leaves all of it or nothing; who calls holds the folder's lock."""
    beside = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)  # what a killed process left
    try:
        tokenizer.save_pretrained(beside)
        sync_tree(beside)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    sync(folder.parent)


def trained_tokenizer_folder(
    args: ExperimentArgs,
    text_file: Path,
    columns: Columns = TEXT_ONLY,
    *,
    open_ended: bool,
    leads: bool = True,
    further: Sequence[Path] = (),
) -> Path:
    """The cache's folder of the tokenizer trained on these texts with these options; trained where it is missing.

    Several processes that start together train it once. It is written beside and renamed whole.

    Raises:
        UserError: the text is missing or not UTF-8, or the cache cannot be written.
    """
    cache_dir, document, kind = Path(args.data.cache_dir), args.data.document, TokenizerKind.of(args.model, leads=leads)
    options = [
        TRAINING_FORMAT,
        *tokenizer_series(),
        args.model.vocab_size,
        open_ended,
        args.data.encoding_errors,
        *((reader, *columns.sequences) if (reader := text_reader_sha256(text_file, document)) else ()),
        *([text_sha256(text, cache_dir), text_reader_sha256(text, document)] for text in further),
        *(astuple(kind) if kind != USUAL_KIND else ()),
        *([keys] if (keys := columns.keys_of(columns.sequences)) != columns.sequences else ()),
        *([kept] if (kept := filter_of(args.data, "train", columns).content) else []),
    ]
    recipe = json.dumps([text_sha256(text_file, cache_dir), *options])
    folder = cache_dir / TRAINED / hashlib.sha256(recipe.encode()).hexdigest()
    if has_tokenizer(folder):
        return folder
    with refusals_told(cache_dir, name=f"--cache_dir {cache_dir}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not has_tokenizer(folder):
                names = ", ".join(map(str, (text_file, *further)))
                say(f"Training a tokenizer of {args.model.vocab_size} tokens on {names}")
                reading = args.model.vocab_size, args.data.encoding_errors, columns, document, kind
                sieve = DocumentSieve(kept, cache_dir)
                tokenizer = train_tokenizer(text_file, *reading, open_ended=open_ended, further=further, sieve=sieve)
                save_whole(tokenizer, folder)
    return folder
