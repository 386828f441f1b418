"""Several programs at one folder: builders of one token store, a run and `drop`, retention and a watcher."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.soak_parts.processes import Observed
from benchmarks.soak_parts.row import Row
from benchmarks.soak_parts.workspace import runs
from dlib.runs.folder import RunFolder
from tests.exactness.comparing import differences
from tests.launching import Place, Result, Training, recorded_steps, start_warm, write_corpus

TEXT_LINES = 24_000
STEPS_A_DROP = 150


def build_together(count: int, root: Path) -> Iterator[Row]:
    """Plan the same run by several processes at the same time, on an empty cache: one of them does the work.

    Args:
        count: number of processes.
        root: folder for text and cache.
    """
    place = Place(write_corpus(root / "data", num_lines=TEXT_LINES), root / "cache", root / "runs")
    with ExitStack() as stack:
        words = [*place.arguments("shared"), "--plan"]
        builders = [stack.enter_context(start_warm(words, root / f"output-{number}")) for number in range(count)]
        results = [ended(builder) for builder in builders]
    told = "".join(result.stderr for result in results)
    summaries = len({result.stdout for result in results})
    left = [path.name for path in place.cache.glob(".*building*")]
    yield Row("processes that ended well", sum(result.status == 0 for result in results), problem=first_error(results))
    yield Row("tokenizers trained", trained := told.count("Training a tokenizer"), problem=unless(trained == 1))
    yield Row("texts tokenized", texts := told.count("Tokenizing "), "of two", unless(texts == 2))
    yield Row("different summaries", summaries, problem=unless(summaries == 1))
    yield Row("builds left behind", len(left), problem=unless(not left))


def drop_live(count: int, root: Path) -> Iterator[Row]:
    """Try to drop a run again and again in the first half of its steps; it ends as one that nobody touched.

    Args:
        count: number of attempts.
        root: folder for the runs.
    """
    place = Place(write_corpus(root / "data"), root / "cache", root / "runs")
    steps = count * STEPS_A_DROP
    goal = f"--training_goal {steps} --save_interval 20% --eval_interval 20% --max_checkpoints -1".split()
    with start_warm(place.arguments("untouched", *goal), root / "output") as training:
        untouched = ended(training)
    folder, drops = place.folder("live"), list[Observed]()
    with start_warm(place.arguments(folder.name, *goal), root / "output") as training:
        training.wait_for_steps(folder, 1)
        while len(drops) < count and recorded_steps(folder) < steps / 2:
            drops.append(runs(place.runs, "drop", folder.name, "--yes"))
        live = ended(training)
    refused = sum(drop.status == 2 and "is live" in drop.stderr for drop in drops)
    yield Row("drops refused", refused, f"of {len(drops)}", unless(refused == len(drops) > 0))
    error = first_error([untouched, live])
    yield Row("runs that ended well", 2 - sum(one.status != 0 for one in (untouched, live)), problem=error)
    found = [] if error else differences(folder, place.folder("untouched"))
    yield Row("differences to an untouched run", len(found), problem="; ".join(found) or None)


def watch(count: int, root: Path) -> Iterator[Row]:
    """Evaluate each checkpoint of a run that saves one a step and keeps one.

    Args:
        count: number of checkpoints.
        root: folder for the run.
    """
    place = Place(write_corpus(root / "data"), root / "cache", root / "runs")
    folder = place.folder("watched")
    goal = f"--training_goal {count} --save_interval 1 --max_checkpoints 1 --eval_interval 100%"
    flags = ["--watch", str(folder.root), "--json", "--accelerator", "cpu", "--cache_dir", str(place.cache)]
    words = place.arguments(folder.name, *goal.split())
    place.runs.mkdir()  # a watcher waits for a run, but not for the folder of all
    with (
        start_warm(flags, root / "watcher", program="eval.py") as watcher,
        start_warm(words, root / "output") as training,
    ):
        outcomes = [ended(training), ended(watcher)]
    steps = [json.loads(line)["step"] for line in outcomes[1].stdout.splitlines()]
    well = sum(one.status == 0 for one in outcomes)
    yield Row("of the run and its watcher, those that ended well", well, problem=first_error(outcomes))
    yield from results(folder, steps, count)


def results(folder: RunFolder, steps: list[int], checkpoints: int) -> Iterator[Row]:
    """Rows for what was evaluated: each checkpoint once, from the first on that the watcher saw."""
    first = min(steps, default=checkpoints + 1)
    gone = f"{first - 1} were gone before the watcher had seen the run"
    yield Row("checkpoints evaluated", len(steps), f"of {checkpoints}; {gone}", unless(bool(steps)))
    missed = set(range(first, checkpoints + 1)) - set(steps)
    yield Row("missed from then on", len(missed), problem=unless(not missed))
    yield Row("evaluated twice", twice := len(steps) - len(set(steps)), problem=unless(not twice))
    files = len(list(folder.evals.glob("*.json")))
    yield Row("results in the run's folder", files, problem=unless(files == len(steps)))
    kept = [path for path in folder.evals.rglob("*") if re.search(r"\.watched|\.pinned/.", str(path))]
    yield Row("still kept for a watcher", len(kept), problem=unless(not kept))
    whole = len(folder.whole_checkpoints())
    yield Row("checkpoints left", whole, "the newest and the best", unless(whole <= 2))


def ended(training: Training) -> Result:
    """How a process ends, however long it takes."""
    while not training.ends_within(60):
        pass
    return training.result()


def first_error(outcomes: list[Result]) -> str | None:
    """What the first process said that did not end well."""
    return next((f"status {one.status}: {one.last_line}" for one in outcomes if one.status), None)


def unless(is_right: bool) -> str | None:
    """The problem of a figure that is not as it has to be."""
    return None if is_right else "wrong"
