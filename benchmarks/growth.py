"""How time and memory grow: with the text, the length of rows, the vocabulary, processes, checkpoints and runs.

python -m benchmarks.growth [corpus length vocabulary processes checkpoints runs] [-o growth.json]
python -m benchmarks.growth corpus --megabytes 1 10 100 2000       a table at other sizes

A table for each; behind a figure stands its ratio to the first row's. Seconds are from the command to its end, or to
what is said, imports included, and of the processor, which other programs change less; medians of --repeats but for
`prepare.py` and trainings, which are measured once. Memory is what no file holds, the most that all processes had
together (Linux). Each process has one thread.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.growth_parts import corpus, training, workspace
from benchmarks.growth_parts.row import Row, table
from benchmarks.machine import machine
from benchmarks.side_by_side import add_output


@dataclass(frozen=True)
class Growth:
    """What grows.

    Attributes:
        what: what the sizes count.
        sizes: the default ones.
        measure: does the work at some sizes, in a folder, by the flags, and yields a row for each.
    """

    what: str
    sizes: tuple[int, ...]
    measure: Callable[[Sequence[int], Path, argparse.Namespace], Iterator[Row]]


TABLES = {
    "corpus": Growth("MB of text", (1, 10, 100), corpus.measure),
    "length": Growth("tokens of a row", (64, 128, 256, 512, 1024), training.measure_lengths),
    "vocabulary": Growth("tokens of the vocabulary", (8192, 16384, 32768, 65536), training.measure_vocabularies),
    "processes": Growth("processes", (1, 2, 4), training.measure_processes),
    "checkpoints": Growth("checkpoints kept", (1, 10, 100), workspace.measure_checkpoints),
    "runs": Growth("runs in the workspace", (1, 10, 100, 1000), workspace.measure_runs),
}

FLAGS = {"corpus": "megabytes"}
"""Of tables whose sizes have a flag of another name."""


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="table", help=f"of {', '.join(TABLES)}; none: all")
    for name, it in TABLES.items():
        text = f"{it.what} ({' '.join(map(str, it.sizes))})"
        flag = f"--{FLAGS.get(name, name)}"
        parser.add_argument(flag, dest=name, type=int, nargs="+", default=it.sizes, metavar="N", help=text)
    parser.add_argument("--repeats", type=int, default=3, help="measurements of what takes seconds (%(default)s)")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps of a training (%(default)s)")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens of an optimizer step (%(default)s)")
    parser.add_argument("--size", choices=("mini", "tiny"), default="mini", help="of the network (%(default)s)")
    add_output(parser)
    options = parser.parse_args(words)
    if unknown := set(options.tables) - set(TABLES):
        parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    return options


def main() -> None:
    """Measure, print, write."""
    options, measured = parse(), {}
    for name in options.tables or TABLES:
        with tempfile.TemporaryDirectory() as folder:
            rows = list(TABLES[name].measure(getattr(options, name), Path(folder).resolve(), options))
        print("\n".join(table(TABLES[name].what, rows)), flush=True)
        measured[name] = [asdict(row) for row in rows]
    report = {"command": sys.argv[1:], "machine": machine(), "date": time.strftime("%Y-%m-%d")}
    training_of = f"clm, {options.size}, {options.tokens:,} tokens a step, {options.steps} steps"
    print(f"{report['machine']}; {report['date']}; medians of {options.repeats}; trainings: {training_of}")
    if options.output is not None:
        options.output.write_text(json.dumps({**report, "tables": measured}, indent=2) + "\n")


if __name__ == "__main__":
    main()
