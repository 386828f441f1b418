"""How much memory the building of a token store takes, over all its processes, and what a kill half-way costs.

python -m benchmarks.tokenize_memory [--megabytes 300] [--processes -1] [--folder DIR]

The text is generated, the tokenizer is small. The memory is the sum of what is
resident (shared pages count in each process), looked at twenty times a second.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from subprocess import PIPE

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from benchmarks.soak_parts.processes import process_tree, resident_bytes
from dlib.data.shards import iterate_slices
from dlib.data.token_store import TokenStore, open_token_store
from tests.launching import ROOT, sentence

BUILD = """
import sys
from pathlib import Path
from transformers import PreTrainedTokenizerFast
from dlib.data.token_store import build_token_store
from dlib.process.ranks import logger

logger()
tokenizer = PreTrainedTokenizerFast(tokenizer_file=sys.argv[2])
processes, cache = int(sys.argv[3]), Path(sys.argv[4])
print("ready", flush=True)
build_token_store(Path(sys.argv[1]), tokenizer, separator_id=1, cache_dir=cache, processes=processes)
"""
LINES = 5_000
SECONDS_BETWEEN_LOOKS = 0.05
VOCAB_SIZE = 2000
UNKNOWN = "<unk>"


@dataclass
class Watched:
    """A build that was watched to its end, or to a kill."""

    seconds: float
    cpu_seconds: float  # of all processes, which another program's work beside does not change much
    first_bytes: int  # resident before it began
    peak_bytes: int
    processes: int  # the most at a time
    parts: int  # whole ones when it was killed

    def __str__(self) -> str:
        """In words."""
        return (
            f"{self.seconds:,.1f} s, {self.cpu_seconds:,.1f} s computed, at most {self.peak_bytes / 1e6:,.0f} MB in "
            f"{self.processes} processes, of which the first had {self.first_bytes / 1e6:,.0f} MB before it began"
        )


def write_text(file: Path, num_bytes: int) -> None:
    """Writes about so many bytes of lines, the same ones with another number at their ends again and again."""
    randomness, written, numbers = random.Random(1), 0, count()
    lines = "".join(f"{sentence(randomness)} {sentence(randomness)} #\n" for _ in range(LINES))
    with file.open("wb") as opened:
        while written < num_bytes:
            written += opened.write(lines.replace("#", str(next(numbers))).encode())


def train_on_sentences(folder: Path) -> Path:
    """The file of a small tokenizer, of the words between blanks."""
    sample, file = folder / "sample.txt", folder / "tokenizer.json"
    write_text(sample, 1)
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(vocab_size=VOCAB_SIZE, special_tokens=[UNKNOWN, "</s>"], show_progress=False)
    tokenizer.train([str(sample)], trainer)
    tokenizer.save(str(file))
    return file


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far; 0 once it has ended."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def watch(words: list[str], cache: Path, kill_at: int | None = None) -> Watched:
    """Build a store; kill it with SIGKILL where it has so many parts."""
    peak, most, parts = 0, 1, 0
    computed: dict[int, float] = {}
    with subprocess.Popen([sys.executable, "-c", BUILD, *words, str(cache)], cwd=ROOT, stdout=PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        begun, first = time.monotonic(), resident_bytes(process.pid)
        imported = cpu_seconds(process.pid)
        while process.poll() is None:
            tree = process_tree(process.pid)
            peak, most = max(peak, sum(map(resident_bytes, tree))), max(most, len(tree))
            computed |= {pid: max(cpu_seconds(pid), computed.get(pid, 0.0)) for pid in tree}
            if kill_at is not None:
                parts = sum(1 for _ in cache.glob(".*building*/part-*.json"))
                if parts >= kill_at:
                    process.send_signal(signal.SIGKILL)
            time.sleep(SECONDS_BETWEEN_LOOKS)
    assert process.returncode == (0 if kill_at is None else -signal.SIGKILL), "the build failed, see above"
    return Watched(time.monotonic() - begun, sum(computed.values()) - imported, first, peak, most, parts)


def store_of(cache: Path) -> TokenStore:
    """The only store of a cache."""
    return next(store for folder in cache.iterdir() if (store := open_token_store(folder)))


def main() -> None:
    """Generates, builds, kills, builds on, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--processes", type=int, default=-1)
    parser.add_argument("--folder", type=Path, help="where the text and the stores are written (default: the system's)")
    parser.add_argument("--killed_only", action="store_true", help="leave out the build that nothing disturbs")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.folder) as name:
        measure(Path(name), flags)


def measure(folder: Path, flags: argparse.Namespace) -> None:
    """The whole story, in a folder of its own."""
    text, whole, halves = folder / "text.txt", folder / "whole", folder / "halves"
    write_text(text, flags.megabytes * 10**6)
    words = [str(text), str(train_on_sentences(folder)), str(flags.processes)]
    parts = sum(1 for _ in iterate_slices([str(text)]))
    print(f"text: {text.stat().st_size / 1e6:,.0f} MB, in {parts:,} parts", flush=True)
    undisturbed = None if flags.killed_only else watch(words, whole)
    if undisturbed:
        print(f"built: {undisturbed}", flush=True)
    killed = watch(words, halves, kill_at=max(1, parts // 2))
    print(f"killed with {killed.parts:,} parts: {killed}", flush=True)
    rest = watch(words, halves)
    print(f"built on: {rest}")
    store = store_of(halves)
    print(f"store: {store.num_tokens:,} tokens in {store.num_documents:,} documents")
    if undisturbed:
        assert (store_of(whole).tokens == store.tokens).all(), "the tokens are others"
        cost = killed.cpu_seconds + rest.cpu_seconds - undisturbed.cpu_seconds
        print(f"the kill cost {cost:,.1f} s computed, {cost / undisturbed.cpu_seconds:.1%}; the tokens are the same")


if __name__ == "__main__":
    main()
