"""What grows with the text: building its token store, and starting a training on a store that is there."""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.growth_parts.row import Row, medians, of_process
from benchmarks.soak_parts.processes import disk_bytes, observe
from benchmarks.startup import has_content, train_flags
from benchmarks.tokenize import MEGABYTE, commands, write_place, write_text
from dlib.process.threads import usable_cores
from dlib.runs.folder import RunFolder

MODEL = argparse.Namespace(model="configs/models/roberta-tiny", max_length=128, rows=8)


def measure(sizes: Sequence[int], root: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Tokenize a text of each of these sizes in megabytes, then begin trainings on it."""
    write_place(root)
    words, store = commands(root, usable_cores())["prepare.py"]
    for megabytes in sizes:
        write_text(root / "prose" / "train.txt", root / "data" / "train.txt", megabytes * MEGABYTE)
        built = observe(words)
        assert built.status == 0, built.stderr
        figures = of_process("prepare.py", built) | {"store, MB": disk_bytes([store]) / MEGABYTE}
        yield Row(megabytes, figures | medians([begin(root, store) for _ in range(options.repeats)]))
        shutil.rmtree(store)


def begin(root: Path, store: Path) -> dict[str, float]:
    """Train up to the first optimizer step."""
    run = RunFolder(root / "trained" / "begun")
    words = ["train.py", *train_flags(root, MODEL), "--cache_dir", str(store), "-n", run.name, "--offline"]
    seen = observe(words, seconds_between_looks=0.02, until=lambda: has_content(run.metrics))
    assert has_content(run.metrics), seen.stderr
    shutil.rmtree(run.root)
    return of_process("to the first step", seen)
