"""A workspace of many runs: what `runs.py` takes for each of its commands, against bare loops over the same folders."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.list_runs import BARE_LOOP, write_runs
from benchmarks.soak_parts.processes import MEBIBYTE, Observed, observe
from benchmarks.soak_parts.row import Row

MOST_TIMES = 3.0
"""So many times what a bare loop takes is called slow."""
BARE_MOVES = """
import fcntl
os.mkdir(sys.argv[2])
for name in os.listdir(sys.argv[1]):
    with open(os.path.join(sys.argv[1], name, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(os.path.join(sys.argv[1], name), os.path.join(sys.argv[2], name))
"""
BARE_REMOVAL = "import shutil, sys; shutil.rmtree(sys.argv[1])"


def measure(count: int, root: Path) -> Iterator[Row]:
    """List, choose, show, drop and purge, and do the same by bare loops.

    Args:
        count: number of run folders.
        root: folder for two workspaces.
    """
    workspace, twin = root / "runs", root / "twin"
    for folder in (workspace, twin):
        write_runs(folder, count)
    observe(["-c", BARE_LOOP, str(workspace)])  # so that all that follows finds the folders in memory
    bare_list = observe(["-c", BARE_LOOP, str(workspace)])
    yield from compared("list", runs(workspace, "list"), bare_list, count)
    yield from compared("list --filter", runs(workspace, "list", "--filter", "loss<9"), bare_list)
    yield from compared("list --json --sort loss", runs(workspace, "list", "--json", "--sort", "loss"), bare_list)
    nothing = observe(["-c", "pass"])
    yield Row("show a run, seconds", (shown := runs(workspace, "show", "run-00000")).seconds, problem=failed(shown))
    yield Row("an interpreter that does nothing, seconds", nothing.seconds)
    bare_moves = observe(["-c", BARE_LOOP + BARE_MOVES, str(twin), str(root / "moved")])
    yield from compared("drop all", runs(workspace, "drop", "--filter", "name=*", "--yes"), bare_moves)
    bare_removal = observe(["-c", BARE_REMOVAL, str(root / "moved")])
    yield from compared("drop --purge", runs(workspace, "drop", "--purge", "--yes"), bare_removal)
    left = [path for path in workspace.rglob("*") if path.name != ".trash"]
    yield Row("left behind", len(left), problem="not all was removed" if left else None)


def runs(workspace: Path, command: str, *words: str) -> Observed:
    """What `runs.py` does there."""
    return observe(["runs.py", command, *words, "--out_dir", str(workspace)])


def compared(name: str, ours: Observed, peer: Observed, num_lines: int | None = None) -> Iterator[Row]:
    """Rows for the time, as a multiple of the peer's, and for the memory."""
    problem = failed(ours)
    if num_lines is not None and ours.stdout.count("\n") <= num_lines:  # a line for each, and the heading
        problem = problem or "runs are missing"
    ratio = ours.seconds / peer.seconds
    detail = f"{ours.seconds:.2f} s, and {peer.seconds:.2f} s"
    yield Row(f"{name}, times a bare loop's time", ratio, detail, problem or ("slow" if ratio > MOST_TIMES else None))
    yield Row(f"{name}, memory, MiB", ours.peak_bytes / MEBIBYTE)


def failed(observed: Observed) -> str | None:
    """What a command said that did not end well."""
    return None if observed.status == 0 else f"status {observed.status}: {observed.stderr.strip()[-200:]}"
