"""The ranges of values that a type cannot tell, checked before anything is built."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import Field
from typing import Any

from dlib.args import DataArgs, ExperimentArgs
from dlib.args.fields import Facts, facts_of
from dlib.args.tables import STRATEGIES, TRACKERS
from dlib.config.corpora import parse_corpora, parse_dev_split
from dlib.config.durations import parse_clock, parse_duration, parse_evaluations
from dlib.config.familiar_names import FAMILIAR_VALUES
from dlib.config.fields import FIELDS, bare_type, choices_of, flag_of, value_of
from dlib.config.spelling import did_you_mean
from dlib.config.wandb_names import check_wandb
from dlib.process.errors import UserError, quoted

# What a counter holds; a number beyond it is a slip of the keyboard.
LARGEST_NUMBER = 2**63 - 1
# Folder names end at 255 bytes; what is written beside a run adds to its name.
LONGEST_NAME_BYTES = 200
LONGEST_PATH_PART_BYTES = 255
LONGEST_PATH_BYTES = 4095


def validate(args: ExperimentArgs, places: Mapping[str, str] = {}) -> None:
    """Refuses what a field does not take: by its range, its choices, as a duration or a path; and what does not agree.

    Args:
        args: the arguments, right in their types.
        places: where each full key was said, for the errors; a key's flag where it is not given.

    Raises:
        UserError: the first wrong value; the message names its flag, or its file and key.
    """
    for key, field in FIELDS.items():
        value, place = value_of(args, key), places.get(key, flag_of(key))
        for element in elements_of(value):
            check_element(element, field, place)
        if isinstance(value, str):
            check_text(value, field, place)
    check_corpora(args.data, places)
    check_dev_split(args.data, places)
    check_decay(args, places)
    check_average(args, places)
    check_strategy(args, places)
    check_trackers(args.tracking.trackers, places.get("tracking.trackers", "--trackers"))
    check_wandb(args.tracking, places)
    check_name(args.run.name, places.get("run.name", "--name"))


def elements_of(value: Any) -> list[Any]:
    """The values of a list or dict, a value itself, and nothing of None."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [] if value is None else [value]


def check_element(value: Any, field: Field[Any], place: str) -> None:
    """Refuses what is none of a field's choices, or out of its range."""
    choices = choices_of(field)
    if choices and value not in choices:
        hint = did_you_mean(FAMILIAR_VALUES.get(str(value), str(value)), map(str, choices))
        raise UserError(f"{place}: {quoted(value)} is none of {', '.join(map(str, choices))}{hint}")
    if isinstance(value, int | float) and bare_type(field) is not bool:
        check_number(value, facts_of(field), place)


def check_number(number: float, facts: Facts, place: str) -> None:
    """Refuses a number out of a field's range; numbers that are not finite have no place in a file of YAML."""
    must_be = f": it must be {facts.range}" if facts.range else ""
    if isinstance(number, float) and not math.isfinite(number):
        raise UserError(f"{place}: {number} is not a finite number{must_be}")
    if not facts.accept(number):
        raise UserError(f"{place}: {number} is out of range{must_be}")
    if facts.range and isinstance(number, int) and number > LARGEST_NUMBER:
        raise UserError(f"{place}: {number} is out of range: it must be at most {LARGEST_NUMBER}")


def check_text(text: str, field: Field[Any], place: str) -> None:
    """Refuses an empty text (who wants none leaves it out), what is no duration, and what is no path."""
    facts = facts_of(field)
    if not text.strip(" \t") and field.default != "":
        raise UserError(f"{place}: this is empty: write a value, or leave it out")
    if facts.duration == "clock":
        parse_clock(text, place)
    elif facts.duration == "evaluations":
        parse_evaluations(text, place)
    elif facts.duration is not None:
        parse_duration(text, place, interval=facts.duration == "share", allow_zero=facts.at_least == 0)
    if facts.path:
        check_path(text, place)


def check_path(text: str, place: str) -> None:
    """Refuses what no file system takes for a path."""
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError:  # half of a pair of surrogates
        path = b"\0"
    if b"\0" in path:
        raise UserError(f"{place}: {quoted(text)} is no path: it holds a character that no path may have")
    if len(path) > LONGEST_PATH_BYTES or max(map(len, path.split(b"/"))) > LONGEST_PATH_PART_BYTES:
        raise UserError(f"{place}: {quoted(text)} is too long for a path")


def check_corpora(data: DataArgs, places: Mapping[str, str]) -> None:
    """Refuses several texts that cannot be told apart or weighed, and those beside a single one."""
    for split in ("train", "dev"):
        place, texts = places.get(f"data.{split}", f"--{split}"), getattr(data, split)
        corpora = parse_corpora(texts, place)
        for corpus in corpora:
            check_path(corpus.path, place)
        if texts and getattr(data, f"{split}_file") != getattr(DataArgs, f"{split}_file"):
            raise UserError(f"{place}: --{split}_file names a text, too: leave one of them out")
        if split == "dev" and any(corpus.weight for corpus in corpora):
            raise UserError(f"{place}: weights are for --train; a text is made shorter by :limit=DOCUMENTS")


def check_dev_split(data: DataArgs, places: Mapping[str, str]) -> None:
    """Refuses what is no part of the documents, and a development text beside it."""
    if data.dev_split is None:
        return
    place = places.get("data.dev_split", "--dev_split")
    parse_dev_split(data.dev_split, place)
    if data.dev or data.dev_file is not None:
        flag = "--dev" if data.dev else "--dev_file"
        raise UserError(f"{place}: {flag} names a development text, too: leave one of them out")


def check_average(args: ExperimentArgs, places: Mapping[str, str]) -> None:
    """Refuses an average of weights that is too coarse to move."""
    if args.optim.ema_decay and args.hardware.precision == "bf16-true":
        place = places.get("optim.ema_decay", "--ema_decay")
        raise UserError(f"{place}: an average of bfloat16 weights does not move: take --precision bf16-mixed")


def check_decay(args: ExperimentArgs, places: Mapping[str, str]) -> None:
    """Refuses a warm-up and a decay that are longer than the training."""
    if args.optim.schedule != "wsd":
        return
    place = places.get("optim.decay", "--decay")
    warmup = parse_duration(args.optim.warmup, place, interval=True, allow_zero=True)
    decay = parse_duration(args.optim.decay, place, interval=True)
    if warmup.unit == decay.unit == "percent" and warmup.value + decay.value > 100:
        raise UserError(f"{place}: a warm-up of {args.optim.warmup} and a decay of {args.optim.decay} are over 100%")


def check_trackers(names: Sequence[str], place: str) -> None:
    """Refuses names of no tracker, and `none` beside another."""
    known = (*TRACKERS, "none")
    for name in names:
        if name not in known:
            raise UserError(f"{place}: {name!r} is none of {', '.join(known)}{did_you_mean(name, known)}")
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


def check_strategy(args: ExperimentArgs, places: Mapping[str, str]) -> None:
    """Refuses what a strategy that keeps something in shards cannot do."""
    strategy, precision = args.hardware.distributed_strategy, args.hardware.precision
    if strategy not in STRATEGIES or not STRATEGIES[strategy].shards:
        return
    is_deepspeed = STRATEGIES[strategy].package == "deepspeed"
    optimizer = args.optim.optimizer
    refused = [
        ("--exact_reduce", args.hardware.exact_reduce, "gradients are added up in an order of its own"),
        ("--precision 16-mixed", precision == "16-mixed", "no loss scale over shards; take bf16-mixed"),
        ("--compile", args.model.compile, "weights are gathered in the midst of what would be compiled"),
        ("--optimizer adafactor", optimizer == "adafactor", "torch's keeps means of whole rows; take adamw"),
        (f"--optimizer {optimizer}", is_deepspeed and optimizer != "adamw", "its state is AdamW's; take adamw"),
        (f"--precision {precision}", is_deepspeed and precision in ("64-true", "bf16-true"), "take bf16-mixed"),
        ("--ema_decay", is_deepspeed and args.optim.ema_decay > 0, "the engine has weights of its own; take fsdp"),
        ("--on_nan ignore", is_deepspeed and args.optim.on_nan == "ignore", "it leaves such steps out; take skip"),
    ]
    place = places.get("hardware.distributed_strategy", "--distributed_strategy")
    for flag, is_set, reason in refused:
        if is_set:
            raise UserError(f"{place}: {strategy} does not go with {flag}: {reason}")
