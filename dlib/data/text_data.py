"""From text files to rows: the stores of a run's texts, and the rows that are cut from them.

It stands apart from the loaders (`dlib/data/data_module.py`), which are Lightning's: who plans a run or tokenizes ahead
does not wait for its import.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlib.args import DataArgs
from dlib.config.corpora import Corpus, whole_weights
from dlib.data.filtering import ALL_DOCUMENTS, DocumentFilter
from dlib.data.finding import TextFiles
from dlib.data.fingerprint import filtered_sha256
from dlib.data.joined_store import joined, limited
from dlib.data.mixture import MixedRows
from dlib.data.packing import LineRows, PackedRows, RowSource
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.splitting import filter_of
from dlib.data.token_roles import TokenRoles
from dlib.data.token_store import TokenStore, build_token_store
from dlib.process.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOT_PACKED = "--document_mask is for packed rows, and each row is a document here; leave it out"
OwnRows = Callable[[TokenStore, int], RowSource | None]


@dataclass(frozen=True)
class DevSet:
    """A development text, tokenized, and its rows."""

    name: str  # in metrics; empty for the first one, which decides what is best
    store: TokenStore
    rows: RowSource

    @property
    def prefix(self) -> str:
        """What the names of its metrics begin with."""
        return f"dev/{self.name}/" if self.name else "dev/"

    @property
    def documents_sha256(self) -> str:
        """Of the text's bytes, and of what says which of its documents stay: filters and limits."""
        return filtered_sha256(self.store.recipe.documents_sha256, self.store.limits)

    @property
    def tokens_per_byte(self) -> float:
        """Tokens that stand for a byte of the text, on average."""
        return self.store.num_tokens / self.store.num_bytes


@dataclass(frozen=True)
class TextData:
    """The texts of a run, tokenized, and the rows that are cut from them."""

    train_store: TokenStore  # of all training texts
    dev_store: TokenStore  # of the first development text, which decides what is best
    train: RowSource
    dev: RowSource
    further: tuple[DevSet, ...] = ()  # development texts beside the first

    def fingerprints(self, roles: TokenRoles) -> dict[str, str]:
        """SHA-256 of each text, and of the tokenizer with the roles of its special tokens, by what it identifies."""
        train = self.train_store.recipe
        ids = [roles.lead_id, roles.separator_id, roles.pad_id, roles.mask_id, sorted(roles.special_ids)]
        tokenizer = f"{train.tokenizer_sha256} {train.store_format} {ids}"
        hashes = {f"development text {dev.name}".strip(): dev.documents_sha256 for dev in self.dev_sets}
        return {
            "training text": train.documents_sha256,
            **hashes,
            "tokenizer": hashlib.sha256(tokenizer.encode()).hexdigest(),
        }

    def describe_documents(self) -> str:
        """Number of documents of the training text, and how long they are, without the token that ends each."""
        store = self.train_store
        length = store.num_tokens / store.num_documents - store.num_sequences
        return f"{store.num_documents:,}, {length:,.1f} tokens on average"

    def describe_selection(self, args: DataArgs) -> dict[str, str]:
        """Limits of development texts, and what was taken out of the training text, as lines of a summary."""
        lines = {
            f"+ {dev.prefix[:-1]}": f"the first {dev.store.num_documents:,} documents, {dev.store.num_tokens:,} tokens"
            for dev in self.dev_sets
            if dev.store.limits
        }
        if args.dev_split is not None:
            count = sum(dev.store.num_documents for dev in self.dev_sets)
            share = args.dev_split.rpartition(" = ")[2]
            lines["dev split"] = f"{count:,} documents; --dev_split {share} keeps them when the text grows"
        if args.exclude:
            stand = f"documents of the training text stand in {', '.join(args.exclude)}"
            lines["left out"] = f"{self.train_store.num_excluded:,} {stand}"
        return lines

    @property
    def dev_sets(self) -> tuple[DevSet, ...]:
        """All development texts."""
        return DevSet("", self.dev_store, self.dev), *self.further


def build_text_data(
    args: DataArgs,
    files: TextFiles,
    tokenizer: "PreTrainedTokenizerBase",
    roles: TokenRoles,
    *,
    columns: Columns = TEXT_ONLY,
    close_truncated: bool = True,
    own_rows: OwnRows = lambda store, max_length: None,
) -> TextData:
    """Tokenize the texts, or find them tokenized, and cut them into rows.

    Args:
        args: how the texts become rows.
        files: the texts.
        tokenizer: the run's tokenizer.
        roles: its special tokens.
        columns: what is read of each document.
        close_truncated: of a document a row, whether a separator ends the row of a truncated one too.
        own_rows: makes rows of a text of so many tokens at most in another way; None where it does not.

    Raises:
        UserError: a text cannot be read or cut into such rows, or the cache cannot be written.
    """
    kept_train, kept_dev = (filter_of(args, split, columns) for split in ("train", "dev"))
    train, (dev, *further) = (
        [limited(tokenize(args, text.file, tokenizer, roles, columns, kept), text.corpus) for text in texts]
        for texts, kept in ((files.training, kept_train), (files.development, kept_dev))
    )
    refuse_other_kinds(files, [*train, dev, *further])

    def rows(store: TokenStore, *, keep_tail: bool) -> RowSource:
        own = own_rows(store, args.max_length)
        if own is not None and args.document_mask:
            raise UserError(NOT_PACKED)
        return own or cut_rows(args, store, roles, keep_tail=keep_tail, close_truncated=close_truncated)

    names = [text.corpus.name for text in files.development[1:]]
    sets = [DevSet(name, store, rows(store, keep_tail=True)) for name, store in zip(names, further, strict=True)]
    parts = [rows(store, keep_tail=False) for store in train]
    mixed = mix_rows([text.corpus for text in files.training], parts)
    return TextData(joined(train), dev, mixed, rows(dev, keep_tail=True), tuple(sets))


def mix_rows(corpora: Sequence[Corpus], parts: Sequence[RowSource]) -> RowSource:
    """The rows of several texts as one, or those of the only one as they are."""
    if len(parts) == 1:
        return parts[0]
    return MixedRows(tuple(corpus.name for corpus in corpora), tuple(parts), whole_weights(corpora))


def refuse_other_kinds(files: TextFiles, stores: Sequence[TokenStore]) -> None:
    """Refuse texts, training texts first, whose fields are not of the first one's kinds; raises `UserError`."""
    for text, store in zip((*files.training, *files.development), stores, strict=True):
        for there, here in zip(stores[0].fields, store.fields, strict=True):
            if there.kind != here.kind:
                message = f'key "{here.name}": a {here.kind}, where {files.train} has a {there.kind}'
                raise UserError(f"{text.file}: {message}")


def tokenize(
    args: DataArgs,
    text_file: Path,
    tokenizer: "PreTrainedTokenizerBase",
    roles: TokenRoles,
    columns: Columns = TEXT_ONLY,
    kept: DocumentFilter = ALL_DOCUMENTS,
) -> TokenStore:
    """Tokenize what is kept of one text, or find it tokenized; raises as `build_text_data` does."""
    return build_token_store(
        text_file,
        tokenizer,
        separator_id=roles.separator_id,
        cache_dir=Path(args.cache_dir),
        columns=columns,
        document=args.document,
        encoding_errors=args.encoding_errors,
        kept=kept.content,
        processes=args.tokenizer_processes,
    )


def cut_rows(
    args: DataArgs, store: TokenStore, roles: TokenRoles, *, keep_tail: bool, close_truncated: bool
) -> RowSource:
    """Cut a tokenized text into rows, see `PackedRows` and `LineRows`; documents with fields are not packed.

    Raises:
        UserError: documents are to be kept apart that are rows of their own.
    """
    if args.line_by_line or store.recipe.columns.is_aligned:
        if args.document_mask:
            raise UserError(NOT_PACKED)
        return LineRows(store, args.max_length, [roles.lead_id], [roles.separator_id], close_truncated)
    return PackedRows(store, args.max_length, lead_id=roles.lead_id, keep_tail=keep_tail, keep_apart=args.document_mask)
