"""The ranges of values that a type cannot tell, checked before anything is built."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlib.args import ExperimentArgs
from dlib.args.model import MOST_IDS
from dlib.args.run import TRACKER_NAMES
from dlib.config.durations import parse_clock, parse_duration
from dlib.config.fields import FIELDS, bare_type, flag_of
from dlib.config.spelling import did_you_mean
from dlib.config.wandb_names import check_wandb
from dlib.process.errors import UserError, quoted

# What a counter holds; a number beyond it is a slip of the keyboard.
LARGEST_NUMBER = 2**63 - 1
# As many as the largest machines have; each is named in a run's record.
MOST_NODES = 100_000
# Each is a process with the libraries in its memory; a typing error would fill the machine with them.
MOST_WORKERS = 1024
# Folder names end at 255 bytes; what is written beside a run adds to its name.
LONGEST_NAME_BYTES = 200
LONGEST_PATH_PART_BYTES = 255
LONGEST_PATH_BYTES = 4095
PATHS = (
    "data.data_dir",
    "data.train_file",
    "data.dev_file",
    "data.cache_dir",
    "model.model",
    "model.tokenizer",
    "model.checkpoint",
    "run.out_dir",
)
"""What is, or may be, a path."""


@dataclass(frozen=True)
class Range:
    """Numbers that are taken, and how an error says it."""

    accepts: Callable[[float], bool]
    words: str


def at_least(lowest: int) -> Range:
    """Numbers from `lowest` on."""
    return Range(lambda number: lowest <= number, f"at least {lowest}")


ALL_OR_SOME = Range(lambda number: number == -1 or number >= 1, "at least 1, or -1 for all")
DECAY_RATE = Range(lambda number: 0 <= number < 1, "at least 0 and less than 1")

RANGES: dict[str, Range] = {
    "data.max_length": at_least(2),
    "data.tokenizer_processes": ALL_OR_SOME,
    "data.num_workers": Range(lambda number: 0 <= number <= MOST_WORKERS, f"at least 0 and at most {MOST_WORKERS}"),
    # 256 bytes, the special tokens, and some merges.
    "model.vocab_size": Range(lambda number: 300 <= number <= MOST_IDS, f"at least 300 and at most {MOST_IDS}"),
    "objective.mask_fraction": Range(lambda number: 0 < number <= 1, "more than 0 and at most 1"),
    "optim.learning_rate": at_least(0),
    "optim.min_learning_rate_ratio": Range(lambda number: 0 <= number <= 1, "at least 0 and at most 1"),
    "optim.weight_decay": at_least(0),
    "optim.layer_decay": Range(lambda number: 0 < number <= 1, "more than 0 and at most 1"),
    "optim.sgd_momentum": DECAY_RATE,
    "optim.muon_momentum": DECAY_RATE,
    "optim.adafactor_beta2_decay": Range(lambda number: number <= 0, "at most 0"),
    "optim.adafactor_clip": at_least(1),
    "optim.adam_beta1": DECAY_RATE,
    "optim.adam_beta2": DECAY_RATE,
    "optim.adam_epsilon": Range(lambda number: number > 0, "more than 0"),
    "optim.max_grad_norm": at_least(0),
    "batch.batch_size": at_least(1),
    "batch.micro_batch_size": at_least(1),
    "batch.eval_batch_size": at_least(1),
    "hardware.num_devices": ALL_OR_SOME,
    "hardware.cuda_device_ids": at_least(0),
    "hardware.num_nodes": Range(lambda number: 1 <= number <= MOST_NODES, f"at least 1 and at most {MOST_NODES}"),
    "checkpoint.max_checkpoints": ALL_OR_SOME,
    "checkpoint.extra_steps": at_least(1),
    "tracking.log_interval": at_least(1),
}


def validate(args: ExperimentArgs, places: Mapping[str, str] = {}) -> None:
    """Refuses values out of range, durations that cannot be read, and names of no folder or no tracker.

    Args:
        args: the arguments, right in their types.
        places: where each full key was said, for the errors; a key's flag where it is not given.

    Raises:
        UserError: the first wrong value; the message names its flag, or its file and key.
    """
    for key, span in RANGES.items():
        check_range(value_of(args, key), span, places.get(key, flag_of(key)))
    for key in FIELDS:
        if bare_type(FIELDS[key]) is str and key != "run.name":  # a plan needs no name
            check_text(value_of(args, key), places.get(key, flag_of(key)))
    for key in PATHS:
        check_path(value_of(args, key), places.get(key, flag_of(key)))
    check_durations(args, places)
    check_trackers(args.tracking.trackers, places.get("tracking.trackers", "--trackers"))
    check_wandb(args.tracking, places)
    check_name(args.run.name, places.get("run.name", "--name"))


def value_of(args: ExperimentArgs, key: str) -> Any:
    """The value of a full key, for example `optim.learning_rate`."""
    section, name = key.split(".")
    return getattr(getattr(args, section), name)


def check_range(value: Any, span: Range, place: str) -> None:
    """Refuses a number, or a number in a list, out of its range; None is no number."""
    for number in value if isinstance(value, list) else [value]:
        if number is None:
            continue
        if number in (math.inf, -math.inf) or number != number:
            raise UserError(f"{place}: {number} is not a finite number: it must be {span.words}")
        if not span.accepts(number):
            raise UserError(f"{place}: {number} is out of range: it must be {span.words}")
        if isinstance(number, int) and number > LARGEST_NUMBER:
            raise UserError(f"{place}: {number} is out of range: it must be at most {LARGEST_NUMBER}")


def check_text(text: str | None, place: str) -> None:
    """Refuses an empty text; who wants none leaves it out."""
    if text is not None and not text.strip(" \t"):
        raise UserError(f"{place}: this is empty: write a value, or leave it out")


def check_path(text: str | None, place: str) -> None:
    """Refuses what no file system takes for a path."""
    try:
        path = os.fsencode(text or "")
    except UnicodeEncodeError:  # half of a pair of surrogates
        path = b"\0"
    if b"\0" in path:
        raise UserError(f"{place}: {quoted(text)} is no path: it holds a character that no path may have")
    if len(path) > LONGEST_PATH_BYTES or max(map(len, path.split(b"/"))) > LONGEST_PATH_PART_BYTES:
        raise UserError(f"{place}: {quoted(text)} is too long for a path")


def check_durations(args: ExperimentArgs, places: Mapping[str, str]) -> None:
    """Refuses durations that cannot be read; nothing keeps what is read, for only the run knows its scale."""
    intervals = {}
    for key in ("optim.warmup", "optim.decay", "durations.eval_interval", "checkpoint.save_interval"):
        place = places.get(key, flag_of(key))
        intervals[key] = parse_duration(value_of(args, key), place, interval=True, allow_zero=key == "optim.warmup")
    warmup, decay = intervals["optim.warmup"], intervals["optim.decay"]
    if args.optim.schedule == "wsd" and warmup.unit == decay.unit == "percent" and warmup.value + decay.value > 100:
        place = places.get("optim.decay", "--decay")
        raise UserError(f"{place}: a warm-up of {args.optim.warmup} and a decay of {args.optim.decay} are over 100%")
    parse_duration(args.durations.training_goal, places.get("durations.training_goal", "--training_goal"))
    if args.durations.max_time is not None:
        parse_clock(args.durations.max_time, places.get("durations.max_time", "--max_time"))


def check_trackers(names: Sequence[str], place: str) -> None:
    """Refuses names of no tracker, and `none` beside another."""
    for name in names:
        if name not in TRACKER_NAMES:
            hint = did_you_mean(name, TRACKER_NAMES)
            raise UserError(f"{place}: {name!r} is none of {', '.join(TRACKER_NAMES)}{hint}")
    others = [name for name in names if name != "none"]
    if others and len(others) < len(names):
        raise UserError(f"{place}: none cannot be combined with {', '.join(others)}")


def check_name(name: str, place: str) -> None:
    """Refuses a name that is no plain folder name; the empty one, which a plan may have, is left to the caller."""
    if name and (
        name != name.strip()
        or not name.isprintable()
        or name[0] in ".-"
        or "/" in name
        or "\\" in name
        or len(name.encode()) > LONGEST_NAME_BYTES
    ):
        raise UserError(f"{place}: {name!r} cannot name a folder: start with a letter or digit, and use no slash")
