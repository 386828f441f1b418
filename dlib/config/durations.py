"""Durations as people write them: "10k steps", "2B tokens", "50k samples", "3 epochs", "5%", and clock times.

Fractions keep "2.5B tokens" and "0.1 epochs" exact: a training goal must not depend on a rounding.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from dlib.process.errors import UserError, quoted

UNITS = {"step": "steps", "token": "tokens", "sample": "samples", "epoch": "epochs", "%": "percent"}
MULTIPLIERS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
COUNTED_UNITS = ("steps", "tokens", "samples")
# What a 64-bit counter of tokens or samples can hold with room to spare.
LARGEST_VALUE = 10**18
LONGEST_TEXT = 100
"""Characters of a duration; Python reads no number of thousands of digits."""
SECONDS_A_DAY, SECONDS_AN_HOUR, SECONDS_A_MINUTE = 86400, 3600, 60

DURATION = re.compile(
    r"(?P<sign>[+-]?)(?P<number>(?:\d[\d_]*)?\.?\d+(?:e\+?\d{1,2})?)\s*(?P<suffix>[kKMBT]?)\s*(?P<unit>[a-z]*|%)"
)
EVALUATIONS = re.compile(r"(\d+)\s*evaluations?", re.ASCII)
BARE = re.compile(r"[1-9][0-9]{0,3}")
CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)")


@dataclass(frozen=True)
class Duration:
    """A length of training, for example `Duration(Fraction(2_000_000_000), "tokens")`."""

    value: Fraction  # how many of the unit, exact
    unit: str  # "steps" (of the optimizer), "tokens", "samples", "epochs" or "percent" (of the training goal)


@dataclass(frozen=True)
class Scale:
    """The size of a run's steps and epochs."""

    batch_size: int | Fraction  # samples in an optimizer step, on average
    tokens_per_sample: Fraction  # tokens in a sample, on average
    samples_per_epoch: int  # samples in the training data


def parse_duration(text: str, flag: str, *, interval: bool = False, allow_zero: bool = False) -> Duration:
    """Reads a duration.

    Args:
        text: a number, perhaps with a suffix k, M, B or T, and a unit; without a unit, optimizer steps.
        flag: the flag that an error names.
        interval: also take a percentage of the training goal.
        allow_zero: also take nothing at all, such as a warm-up of `0`.

    Raises:
        UserError: the text is no duration, or one that is not taken here.
    """
    match = DURATION.fullmatch(text.strip()) if len(text) < LONGEST_TEXT else None
    unit = unit_named(match["unit"]) if match else None
    if match is None or unit is None or (unit == "percent" and not interval):
        raise UserError(f"{flag}: {quoted(text)} is not a duration: write for example {examples(interval)}")
    number = match["number"].replace("_", "")  # which Fraction reads from Python 3.11 on
    value = Fraction(match["sign"] + number) * MULTIPLIERS[match["suffix"].replace("K", "k")]
    if unit == "percent" and match["suffix"]:
        raise UserError(f"{flag}: {text!r} is not a percentage: write for example 5%")
    check_value(value, unit, text, flag, allow_zero)
    return Duration(value, unit)


def unit_named(word: str) -> str | None:
    """The unit that a word names, in singular or plural, or None."""
    if word in ("", "percent"):
        return "percent" if word else "steps"
    return UNITS.get(word.removesuffix("s"))


def examples(interval: bool) -> str:
    """Durations to copy, for an error message."""
    return '2000, "10k steps", "2B tokens", "50k samples" or "3 epochs"' + (', or "5%"' if interval else "")


def check_value(value: Fraction, unit: str, text: str, flag: str, allow_zero: bool) -> None:
    """Refuses a value that cannot be trained for."""
    if value < 0 or (value == 0 and not allow_zero):
        raise UserError(f"{flag}: {text!r} must be more than zero: write for example {examples(unit == 'percent')}")
    if unit == "percent" and value > 100:
        raise UserError(f"{flag}: {text!r} is more than the whole training goal: write at most 100%")
    if unit in COUNTED_UNITS and value.denominator != 1:
        raise UserError(f"{flag}: {text!r} is not a whole number of {unit}: only epochs and percentages have fractions")
    if value > LARGEST_VALUE:
        raise UserError(f"{flag}: {text!r} is more than can be counted: write at most 1000000T {unit}")


def to_samples(duration: Duration, scale: Scale) -> int:
    """The duration in samples, rounded up, at least 1.

    Raises:
        ValueError: the duration is a percentage, which has no length of its own.
    """
    if duration.unit == "percent":
        raise ValueError("a duration in percent has no length in samples")
    return max(1, math.ceil(_samples(duration, scale)))


def to_total_steps(duration: Duration, scale: Scale) -> int:
    """The duration in optimizer steps, rounded up, at least 1; not of a percentage, as `to_samples`."""
    if duration.unit == "percent":
        raise ValueError("a duration in percent has no length in steps")
    return max(1, math.ceil(_samples(duration, scale) / scale.batch_size))


def to_steps(duration: Duration, scale: Scale, total_steps: int) -> int:
    """The duration in optimizer steps, rounded to the nearest and half up, at least 1 unless it is zero."""
    if duration.value == 0:
        return 0
    is_share = duration.unit == "percent"
    steps = duration.value * total_steps / 100 if is_share else _samples(duration, scale) / scale.batch_size
    return max(1, math.floor(steps + Fraction(1, 2)))


def _samples(duration: Duration, scale: Scale) -> Fraction:
    worth = {
        "steps": Fraction(scale.batch_size),
        "tokens": 1 / Fraction(scale.tokens_per_sample),
        "samples": Fraction(1),
        "epochs": Fraction(scale.samples_per_epoch),
    }
    return duration.value * worth[duration.unit]


def parse_evaluations(text: str, flag: str) -> int:
    """Reads a number of evaluations, "5 evaluations".

    Args:
        text: the number with its unit.
        flag: the flag that an error names.

    Raises:
        UserError: the text is something else.
    """
    match = EVALUATIONS.fullmatch(text.strip()) if len(text) < LONGEST_TEXT else None
    if match is None or not 0 < int(match[1]) <= LARGEST_VALUE:
        raise UserError(f'{flag}: {quoted(text)} is no number of evaluations: write for example "5 evaluations"')
    return int(match[1])


def parse_clock(text: str, flag: str) -> int:
    """Seconds of a time `HH:MM:SS` or `D-HH:MM:SS`; refuses `45:00` and `45`, which may mean minutes or hours."""
    match = CLOCK.fullmatch(text.strip()) if len(text) < LONGEST_TEXT else None
    if match is None or (match["days"] and int(match["hours"]) >= 24):
        example = (
            f"{int(text) // 60:02}:{int(text) % 60:02}:00 for {text} minutes" if BARE.fullmatch(text) else "11:30:00"
        )
        raise UserError(f"{flag}: {quoted(text)} is not a time: write HH:MM:SS or D-HH:MM:SS, for example {example}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = days * SECONDS_A_DAY + hours * SECONDS_AN_HOUR + minutes * SECONDS_A_MINUTE + seconds
    if total == 0:
        raise UserError(f"{flag}: {text!r} must be more than zero: write for example 11:30:00")
    return total
