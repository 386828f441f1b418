"""How fast a text becomes tokens, how much disk they take, and how much memory it needs, beside `datasets.map`.

python -m benchmarks.tokenize [--megabytes 50 200] [--processes N] [--folder FOLDER] [-o tokenize.json]

Both start from the same text and tokenizer and use as many processes, in turn: `prepare.py tokens`, and
`benchmarks/run_mlm.py`, which joins and cuts rows as the Hugging Face example does (`pip install datasets`). The text
is the demo's English prose, with another number on each line. Time is from the command to its end, imports included;
memory is what no file holds, of all processes together, looked at twenty times a second (Linux).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.soak_parts.processes import MEBIBYTE, disk_bytes, observe
from dlib.demo.corpus import write_demo_corpus
from dlib.process.threads import usable_cores
from tests.launching import ROOT

MEGABYTE = 10**6


@dataclass(frozen=True)
class Built:
    """What a text has become, and what that took."""

    way: str
    megabytes: int  # of the text
    seconds: float
    peak_mib: float
    disk_megabytes: float

    @property
    def megabytes_per_second(self) -> float:
        """Of the text."""
        return self.megabytes / self.seconds


def write_text(prose: Path, text: Path, num_bytes: int) -> None:
    """Write the prose again and again, with another number at the end of each line."""
    lines, written, numbers = prose.read_text(encoding="utf-8").splitlines(), 0, count()
    with text.open("wb") as opened:
        while written < num_bytes:
            number = next(numbers)
            written += opened.write("".join(f"{line} {number}\n" for line in lines).encode())


def commands(root: Path, processes: int) -> dict[str, tuple[list[str], Path]]:
    """The words after `python` for each way, and the folder that it fills."""
    train, dev, tokenizer = str(root / "data" / "train.txt"), str(root / "data" / "dev.txt"), str(root / "tokenizer")
    store, arrow = root / "store", root / "arrow"
    ours = ["prepare.py", "tokens", "-d", str(root / "data"), "--tokenizer", tokenizer, "--max_length", "128"]
    peer = ["-m", "benchmarks.run_mlm", "--texts", train, dev, "--tokenizer", tokenizer, "--max_length", "128"]
    return {
        "prepare.py": ([*ours, "--cache_dir", str(store), "--tokenizer_processes", str(processes)], store),
        "datasets.map": ([*peer, "--cache", str(arrow), "--processes", str(processes), "--steps", "0"], arrow),
    }


def build(way: str, words: Sequence[str], folder: Path, megabytes: int) -> Built:
    """Make the tokens, and remove them again."""
    seen = observe(words)
    assert seen.status == 0, seen.stderr
    built = Built(way, megabytes, seen.seconds, seen.peak_bytes / MEBIBYTE, disk_bytes([folder]) / MEGABYTE)
    shutil.rmtree(folder)
    return built


def write_place(root: Path) -> None:
    """The prose, a development text, and a tokenizer that has learned from the prose."""
    write_demo_corpus(root / "prose")
    (root / "data").mkdir()
    shutil.copy(root / "prose" / "dev.txt", root / "data")
    words = ["-d", str(root / "prose"), "--cache_dir", str(root / "trained"), "--out", str(root / "tokenizer")]
    command = [sys.executable, "prepare.py", "tokenizer", *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def measure(root: Path, sizes: Sequence[int], processes: int) -> Iterator[Built]:
    """All ways at all sizes."""
    write_place(root)
    for megabytes in sizes:
        write_text(root / "prose" / "train.txt", root / "data" / "train.txt", megabytes * MEGABYTE)
        for way, (words, folder) in commands(root, processes).items():
            yield build(way, words, folder, megabytes)


def table(built: Sequence[Built]) -> Iterator[str]:
    """A Markdown table."""
    yield "| text | way | MB/s | peak memory | disk | |\n|---|---|---:|---:|---:|---|"
    for ours, peer in zip(built[::2], built[1::2], strict=True):
        ratio = f"{ours.megabytes_per_second / peer.megabytes_per_second:.1f} x the speed"
        ratio += f", {ours.disk_megabytes / peer.disk_megabytes:.2f} x the disk"
        for one, said in ((ours, ratio), (peer, "")):
            size, speed = f"{one.megabytes:,} MB", f"{one.megabytes_per_second:.1f}"
            yield f"| {size} | {one.way} | {speed} | {one.peak_mib:,.0f} MiB | {one.disk_megabytes:,.0f} MB | {said} |"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 200], help="sizes of the text")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="processes of each (one a core)")
    parser.add_argument("--folder", type=Path, help="where all is written (default: the system's temporary folder)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the figures go, as JSON")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        built = list(measure(Path(folder).resolve(), flags.megabytes, flags.processes))
    print("\n".join([*table(built), ""]))
    report = {"command": sys.argv[1:], "machine": machine(), "date": time.strftime("%Y-%m-%d")}
    print(f"{report['machine']}; {report['date']}; {flags.processes} processes")
    if flags.output is not None:
        flags.output.write_text(json.dumps({**report, "built": [asdict(one) for one in built]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
