"""What grows with the length of rows, the vocabulary and the processes of a training: its speed and its memory.

A step has as many tokens whatever the length of its rows; each process has one thread.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.growth_parts.row import Row
from benchmarks.soak_parts.processes import MEBIBYTE, observe
from benchmarks.trainer_parts.measuring import read_result, run, train_words
from benchmarks.trainer_parts.workload import Workload
from dlib.runs.folder import RunFolder


def measure_lengths(sizes: Sequence[int], root: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Train on rows of each of these numbers of tokens."""
    for length in sizes:
        yield Row(length, train(workload_of(root / str(length), options, length=length)))


def measure_vocabularies(sizes: Sequence[int], root: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Train with each of these numbers of tokens in the vocabulary."""
    for vocab_size in sizes:
        yield Row(vocab_size, train(workload_of(root / str(vocab_size), options, vocab_size=vocab_size)))


def measure_processes(sizes: Sequence[int], root: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Train with each of these numbers of processes."""
    for count in sizes:
        yield Row(count, train(workload_of(root / str(count), options), ["--num_devices", str(count)]))


def workload_of(folder: Path, options: argparse.Namespace, length: int = 128, vocab_size: int = 8192) -> Workload:
    """What is trained in a folder; rows as long as a step are one row a step."""
    rows = max(1, options.tokens // length)
    return Workload("clm", str(folder), options.size, vocab_size, rows, length, options.steps)


def train(workload: Workload, flags: Sequence[str] = ()) -> dict[str, float]:
    """Train once."""
    print(f"{workload.folder}: {workload.rows} x {workload.length} tokens", file=sys.stderr, flush=True)
    run(["-m", "benchmarks.trainer_parts.peers", "prepare"], workload)
    runs = Path(workload.folder, "runs")
    seen = observe(["train.py", *train_words(workload, runs, flags)])
    assert seen.status == 0, seen.stderr
    result = read_result(workload, RunFolder(runs / "ours"), seen.peak_bytes / MEBIBYTE)
    return {"tokens/s": result.tokens_per_second, "memory of all processes, MiB": result.memory_mib}
