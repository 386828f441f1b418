"""Which text is read, and how it becomes rows."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class DataArgs:
    """The text, one document a line, and the rows that are cut from it."""

    data_dir: str = setting("data", alias="-d", free=True)
    """Folder that holds the text files."""
    train_file: str = setting("train.txt", free=True)
    """Name of the training text in `data_dir`."""
    dev_file: str | None = setting(None, free=True)
    """Name of the development text in `data_dir`; none: `dev.txt`, else `val.txt`."""
    max_length: int = setting(512)
    """Number of tokens in a row, special tokens included."""
    line_by_line: bool = setting(False)
    """One row a line, truncated and padded; else lines are packed into full rows."""
    encoding_errors: str = setting("strict", choices=("strict", "replace", "ignore"))
    """What to do with bytes that are not UTF-8: stop, put U+FFFD in their place, or leave them out."""
    cache_dir: str = setting("cache", free=True)
    """Folder of the token stores and trained tokenizers; entries are found by content."""
    tokenizer_processes: int = setting(-1, free=True)
    """Number of processes that tokenize; -1: one a CPU core."""
    num_workers: int = setting(1, free=True)
    """Number of processes a device that prepare training batches; 0: the training process does it itself."""
