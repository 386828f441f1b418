"""Load a run, a workspace and a text far beyond the usual, and tell what grows, breaks or is slow.

python -m benchmarks.soak                              all parts, one after the other: some hours
python -m benchmarks.soak steps --steps 100000         some of them, at the sizes that are given

Prints a table for each part, and with `--output` writes JSON. Linux only: processes are read through /proc.
Exit status: 0 all as it should be, 1 something grew or broke.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.soak_parts import lines, sharing, steps, vocabulary, workspace
from benchmarks.soak_parts.row import Row


@dataclass(frozen=True)
class Part:
    """A part of the soak.

    Attributes:
        measure: does the work in a folder, at a size, and yields its figures.
        size: the default one.
        help: what the size counts.
    """

    measure: Callable[[int, Path], Iterator[Row]]
    size: int
    help: str


PARTS = {
    "steps": Part(steps.measure, 100_000, "optimizer steps of one run: memory, open files, threads, disk"),
    "runs": Part(workspace.measure, 10_000, "runs in a workspace: time and memory of runs.py"),
    "lines": Part(lines.measure, 10_000_000, "short lines of a text: time and memory, and what the store holds"),
    "vocabulary": Part(vocabulary.measure, 1_000_000, "tokens of a tokenizer: memory against what weights need"),
    "builders": Part(sharing.build_together, 8, "processes that build one token store at the same time"),
    "drops": Part(sharing.drop_live, 20, "times that `runs.py drop` is called on a live run"),
    "checkpoints": Part(sharing.watch, 200, "checkpoints, one a step, of which one stays, with a watcher"),
}


def main() -> int:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; none: all")
    for name, part in PARTS.items():
        parser.add_argument(f"--{name}", type=int, default=part.size, metavar="N", help=f"{part.help} ({part.size:,})")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the figures go, as JSON")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="new folder for all that is made, which is kept")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.keep is not None:
        options.keep.mkdir(parents=True)
    measured = {}
    for name in options.parts or PARTS:
        with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as root:
            folder = Path(root).resolve() / name
            folder.mkdir()
            measured[name] = list(PARTS[name].measure(getattr(options, name), folder))
        print("\n".join(table(name, measured[name])), flush=True)
    report = {"command": sys.argv[1:], "machine": machine(), "date": time.strftime("%Y-%m-%d")}
    print(f"{report['machine']}; {report['date']}")
    if options.output is not None:
        rows = {name: [asdict(row) for row in part] for name, part in measured.items()}
        options.output.write_text(json.dumps({**report, "parts": rows}, indent=2) + "\n")
    return int(any(row.problem for rows in measured.values() for row in rows))


def table(part: str, rows: list[Row]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {part} | figure | | verdict |"
    yield "|---|---:|---|---|"
    for row in rows:
        yield f"| {row.name} | {row.shown} | {row.detail} | {row.problem or 'good'} |"
    yield ""


if __name__ == "__main__":
    sys.exit(main())
