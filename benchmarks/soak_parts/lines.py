"""Many short lines: is the token store right, and does the memory that it takes depend on their number?

The real `train.py --plan` trains the tokenizer, builds the store and counts the rows. Each line holds its own number,
so that the store can be checked line by line.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from benchmarks.soak_parts.processes import MEBIBYTE, Observed, observe
from benchmarks.soak_parts.row import Row
from benchmarks.soak_parts.workspace import failed
from dlib.data.token_store import TokenStore, open_token_store

SMALLER = 10
"""The peer has so many times fewer lines."""
MOST_MORE_MEMORY = 0.1
"""What is called the same memory: at most this share more than with fewer lines."""
MOST_MORE_TIME = 0.25
LINES_CHECKED = 10_000


def measure(count: int, root: Path) -> Iterator[Row]:
    """Plan a run on few lines, then on many.

    Args:
        count: number of lines of the longer text.
        root: folder for texts and caches.
    """
    fewer = max(1, count // SMALLER)
    small, large = (plan(root / str(count), count) for count in (fewer, count))
    problem = failed(small) or failed(large)
    yield Row("seconds", large.seconds, f"{fewer:,} lines: {small.seconds:.1f}", problem)
    more = large.seconds / count / (small.seconds / fewer) - 1
    yield Row("time a line, relative to fewer lines", 1 + more, problem="slow" if more > MOST_MORE_TIME else None)
    rise = large.peak_bytes / small.peak_bytes - 1
    detail = f"{fewer:,} lines: {small.peak_bytes / MEBIBYTE:,.0f}, {rise:+.1%}"
    grows = "grows with the lines" if rise > MOST_MORE_MEMORY else None
    yield Row("memory of all processes, MiB", large.peak_bytes / MEBIBYTE, detail, grows)
    if problem is None:
        yield from checked(root / str(count), count)


def plan(folder: Path, count: int) -> Observed:
    """Write a text of so many lines, and have `train.py` prepare a run on it."""
    folder.mkdir()
    with (folder / "train.txt").open("w") as file:
        file.writelines(f"{line(number)}\n" for number in range(count))
    (folder / "dev.txt").write_text("one line\n")
    words = ["train.py", "-n", "many", "-d", str(folder), "--cache_dir", str(folder / "cache"), "--plan", "--offline"]
    model = ["--model", "configs/models/roberta-tiny", "--from_scratch", "--vocab_size", "2000"]
    return observe([*words, *model, "--line_by_line", "--max_length", "32", "--accelerator", "cpu"])


def line(number: int) -> str:
    """A short text that holds its number, by words of which there are a thousand."""
    return f"line {number // 10**6:03d} {number // 1000 % 1000:03d} {number % 1000:03d}"


def checked(folder: Path, count: int) -> Iterator[Row]:
    """Rows for what the store of a text holds."""
    store = store_of(folder)
    yield Row("documents in the store", store.num_documents, problem=None if store.num_documents == count else "wrong")
    (files,) = (folder / "cache" / "tokenizers").glob("*/tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(files))
    numbers = random.Random(1).sample(range(count), min(count, LINES_CHECKED))
    wrong = 0
    for number in numbers:
        ids = store.tokens[store.offsets[number] : store.offsets[number + 1] - 1]
        wrong += tokenizer.decode(ids.tolist()) != line(number)
    yield Row("lines compared with the text", len(numbers), problem=f"{wrong} differ" if wrong else None)
    used = sum(path.stat().st_size for path in store.folder.iterdir())
    yield Row("bytes of the store per byte of text", used / (folder / "train.txt").stat().st_size)


def store_of(folder: Path) -> TokenStore:
    """The store of a folder's training text."""
    for manifest in (folder / "cache").glob("*/manifest.json"):
        store = open_token_store(manifest.parent)
        if store is not None and json.loads(manifest.read_text())["text_file"] == "train.txt":
            return store
    raise FileNotFoundError(f"{folder / 'cache'} holds no store of train.txt")
