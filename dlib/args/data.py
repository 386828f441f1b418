"""Which text is read, and how it becomes rows."""

from dataclasses import dataclass

from dlib.args.fields import setting

DOCUMENTS = {
    "auto": "looks at the text, and says what it found",
    "line": "a line",
    "blank_line": "what stands between blank lines",
    "file": "all of a file",
}
MOST_WORKERS = 1024
"""Each is a process with the libraries in its memory; a typing error would fill the machine with them."""


@dataclass
class DataArgs:
    """The text (.txt, or .jsonl, .csv and so on with its keys), and the rows that are cut from it."""

    data_dir: str = setting("data", alias="-d", path=True, free=True)
    """Folder that holds the text files."""
    train_file: str = setting("train.txt", path=True, free=True)
    """Name of the training text in `data_dir`; without a `train.txt`, `train.jsonl` and so on is found."""
    dev_file: str | None = setting(None, path=True, free=True)
    """Name of the development text in `data_dir`; none: `dev.txt`, `val.txt`, or the same in another format."""
    keys: dict[str, str] = setting({}, changes_evaluation=True)
    """What the keys or columns of all texts are called, where not as here: text=review label=sentiment."""
    source_suffix: str | None = setting(None, free=True)
    """Of parallel files, whose lines belong together: de, for the keys `source` in `train.de` and `dev.de`,"""
    target_suffix: str | None = setting(None, free=True)
    """... and en, for the keys `target` in `train.en` and `dev.en`."""
    train: list[str] = setting([], corpora=True, keeps_commas=True)
    """Several training texts in `data_dir`, [NAME=]FILE[:WEIGHT][:limit=DOCUMENTS][:limit_tokens=TOKENS] each; without
    weights all rows count alike."""
    dev: list[str] = setting([], corpora=True, keeps_commas=True)
    """Several development texts in `data_dir`, [NAME=]FILE[:limit=DOCUMENTS][:limit_tokens=TOKENS] each: the first
    decides what is best, and the numbers of the others are `dev/NAME/loss` and so on."""
    dev_split: str | None = setting(None)
    """Development documents that are taken out of the training text, chosen by their content: 2000, or 1%."""
    exclude: list[str] = setting([], keeps_commas=True, free=True)
    """Files in `data_dir`: what stands in them as a whole document is left out of the training text."""
    limit_dev_rows: int | None = setting(None, at_least=1)
    """Number of rows that an evaluation in training takes, from the text's beginning; none: all. eval.py takes all."""
    max_length: int = setting(512, at_least=2, changes_evaluation=True)
    """Number of tokens in a row, special tokens included."""
    document: str = setting("auto", choices=DOCUMENTS, changes_evaluation=True)
    """What a document of plain text is; its line breaks are part of it."""
    line_by_line: bool = setting(False, changes_evaluation=True)
    """One row a line, truncated and padded, as always where fields are read; else lines are packed into full rows."""
    document_mask: bool = setting(False, changes_evaluation=True)
    """Of packed rows: documents of one row neither see each other nor count positions on."""
    encoding_errors: str = setting("strict", choices=("strict", "replace", "ignore"), changes_evaluation=True)
    """What to do with bytes that are not UTF-8: stop, put U+FFFD in their place, or leave them out."""
    cache_dir: str = setting("cache", path=True, free=True)
    """Folder of the token stores and trained tokenizers; entries are found by content."""
    tokenizer_processes: int = setting(-1, at_least=1, or_all=True, free=True)
    """Number of processes that tokenize; -1: one a CPU core."""
    num_workers: int = setting(1, at_least=0, at_most=MOST_WORKERS, free=True)
    """Number of processes a device that prepare training batches; 0: the training process does it itself."""
