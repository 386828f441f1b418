"""Ways of doing the same work, measured in turn in one process: medians, ratios, a table, JSON.

It stands apart because whatever else the machine does meanwhile hits neighbouring measurements alike, so that all
benchmarks of this kind compare a measurement with the one beside it.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

OURS, PEER = "dlib", "peer"


@dataclass(frozen=True)
class Comparison:
    """Our speed beside a peer's.

    Attributes:
        work: what was done.
        peer: who else did it.
        unit: what is counted in a second.
        ours: the median of our speeds.
        theirs: the median of the peer's.
        ratio: the median of the ratios of neighbouring measurements, ours to the peer's,
        lowest: the lowest of them,
        highest: and the highest.
        repeats: measurements of each.
        same: whether both found the same, where that can be told.
    """

    work: str
    peer: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    lowest: float
    highest: float
    repeats: int
    same: bool | None


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(ways: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Measure each way `repeats` times, one after the other, after a round that warms up."""
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            found = way()
            if repeat:
                measured[name].append(found)
    return measured


def compare(
    work: str,
    peer: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    amount: float,
    unit: str,
    repeats: int,
    same: bool | None = None,
) -> Comparison:
    """Do `amount` of some work in both ways; the rest is as in `Comparison`."""
    taken = in_turn({OURS: lambda: seconds(ours), PEER: lambda: seconds(theirs)}, repeats)
    ratios = [slow / fast for fast, slow in zip(taken[OURS], taken[PEER], strict=True)]
    our_speed, their_speed = (amount / statistics.median(taken[name]) for name in (OURS, PEER))
    ratio = statistics.median(ratios)
    return Comparison(work, peer, unit, our_speed, their_speed, ratio, min(ratios), max(ratios), repeats, same)


def table(rows: Sequence[Comparison]) -> Iterator[str]:
    """A Markdown table."""
    yield "| work | peer | a second | dlib | peer | dlib / peer | lowest to highest | the same |"
    yield "|---|---|---|---:|---:|---:|---:|---|"
    for row in rows:
        speeds = f"{row.ours:,.0f} | {row.theirs:,.0f}"
        same = "-" if row.same is None else "yes" if row.same else "NO"
        spread = f"{row.lowest:.2f} to {row.highest:.2f}"
        yield f"| {row.work} | {row.peer} | {row.unit} | {speeds} | {row.ratio:.2f} | {spread} | {same} |"


def add_output(parser: argparse.ArgumentParser) -> None:
    """The flag of `tell`."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the figures go, as JSON")


def tell(rows: Sequence[Any], output: Path | None, show: Callable[[Sequence[Any]], Iterator[str]] = table) -> None:
    """Print the table, as `show` makes it of some dataclasses, and write the figures."""
    report = {"command": sys.argv[1:], "machine": machine(), "date": time.strftime("%Y-%m-%d")}
    print("\n".join([*show(rows), "", f"{report['machine']}; {report['date']}"]))
    if output is not None:
        output.write_text(json.dumps({**report, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
