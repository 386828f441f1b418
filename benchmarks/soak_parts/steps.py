"""A long run of tiny optimizer steps: does anything that it holds grow with their number?

The run is a real `train.py` with one loader process, records, evaluations and checkpoints. It is looked at from outside
once a second. What a run records is meant to grow, by a line a logged step; nothing else is.
"""

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.soak_parts.processes import MEBIBYTE, MOST_GROWTH, disk_bytes, growth, held, second_half
from benchmarks.soak_parts.row import Row
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import newest_record
from tests.launching import Place, Training, start, write_corpus

NAME = "long"
SECONDS_BETWEEN_LOOKS = 1.0
LOG_INTERVAL, SAVES = 10, 200
MODEL = ("hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=32")
OPENED_ONCE = {"open files": 2.0}
"""By how much a figure may rise whatever its share: `anomalies.jsonl` stays open from the first loss spike on."""
Sample = dict[str, float]


def measure(count: int, root: Path) -> Iterator[Row]:
    """Train, look at it meanwhile, and tell what grew.

    Args:
        count: number of optimizer steps.
        root: folder for the run; `samples.jsonl` in it grows while the run does.
    """
    place = Place(write_corpus(root / "data"), root / "cache", root / "runs")
    interval = max(1, count // SAVES)
    goal = f"--training_goal {count} --save_interval {interval} --eval_interval {interval}"
    sizes = f"--max_length 16 -b 4 --micro_batch_size 2 --log_interval {LOG_INTERVAL} --num_workers 1"
    arguments = place.arguments(NAME, *goal.split(), *sizes.split(), "--model_overrides", *MODEL)
    began = time.monotonic()
    with start(arguments, root / "output") as training, (root / "samples.jsonl").open("w") as file:
        samples = []
        while not training.ends_within(SECONDS_BETWEEN_LOOKS):
            samples.append(look(training, place, time.monotonic() - began))
            print(json.dumps(samples[-1]), file=file, flush=True)
        result = training.result()
    folder = place.folder(NAME)
    last = newest_record(folder.metrics) or {"step": 0}
    whole = result.status == 0 and last["step"] == count
    yield Row("optimizer steps", last["step"], f"status {result.status}", None if whole else "not all were done")
    yield Row("seconds", time.monotonic() - began, f"{len(samples)} looks")
    yield from verdicts(samples, count)
    yield Row("records, bytes a logged step", disk_bytes(records(folder)) / max(1, last["step"] // LOG_INTERVAL))


def records(folder: RunFolder) -> list[Path]:
    """The files of a run that grow by design."""
    return [folder.metrics, folder.performance, folder.anomalies, folder.log]


def look(training: Training, place: Place, seconds: float) -> Sample:
    """What the run holds at this moment, and at which step it is."""
    folder = place.folder(NAME)
    step = (newest_record(folder.metrics) or {"step": 0})["step"]
    disk = disk_bytes([place.runs, place.cache]) - disk_bytes(records(folder))
    return {"step": step, "seconds": seconds, **held(training.pid), "disk but for records, MiB": disk / MEBIBYTE}


def verdicts(samples: list[Sample], total_steps: int) -> Iterator[Row]:
    """A row for all that must not grow: its mean over the second half, and by how much it rose there."""
    training = [sample for sample in samples if 0 < sample["step"] < total_steps]  # in the end all is given back
    later = second_half(training)
    if len(later) < 2:
        yield Row("looks", len(samples), problem="too few to tell what grows: give more --steps")
        return
    steps = [sample["step"] for sample in later]
    for name in (name for name in later[0] if name not in ("step", "seconds")):
        values = [sample[name] for sample in later]
        mean, rise = statistics.fmean(values), growth(steps, values)
        grows = rise > max(MOST_GROWTH, OPENED_ONCE.get(name, 0) / mean)
        detail = f"{rise:+.2%} over steps {steps[0]:,} to {steps[-1]:,}; at most {max(values):,.1f}"
        yield Row(name, mean, detail, f"grows by {rise:.2%}" if grows else None)
