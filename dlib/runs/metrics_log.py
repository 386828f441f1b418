"""The numbers of a run, one JSON object a logged step: metrics.jsonl, and performance.jsonl beside it.

They are the truth, and what the trackers hold are copies. A resumed run cuts them back to its checkpoint, so that
every step stands in them once.

A number that is not finite is written as the string "NaN", "Infinity" or "-Infinity": JSON has no such numbers, and
null would not say which it was. `float()` turns the strings back.
"""

import json
import math
import os
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from dlib.process.durable import is_in_place, refusals_told, write_text_atomically
from dlib.process.errors import TrainingError, UserError

DEV_LOSS = "dev/loss"


@dataclass(frozen=True)
class BestMetric:
    """The metric that says which checkpoint of a run is the best.

    Attributes:
        key: its name in metrics.jsonl.
        highest: whether it is to be high.
    """

    key: str = DEV_LOSS
    highest: bool = False

    def rank(self, record: Mapping[str, Any]) -> tuple[float, float] | None:
        """What is greater for a better record, of equal ones for that of the lower loss; None: it lacks the number."""
        value, loss = record.get(self.key, math.nan), record.get(DEV_LOSS, 0.0)
        if not is_number(value) or math.isnan(value):
            return None
        return value if self.highest else -value, -loss if is_number(loss) and not math.isnan(loss) else -math.inf


# `add` puts the step first, so that a line can be placed without reading it whole.
_STEP = re.compile(rb'\{"step": (\d+)[,}]')
_BLOCK_BYTES = 2**16
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class MetricsLog:
    """Appends records to a file; only the process that holds the run may open one. A torn last line is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: dict[str, Any] = {}
        self._last_step = -1
        self._file: FileIO | None = None  # open from the first record on, so that another of its name is noticed
        if path.exists():
            self._keep_up_to(None)

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Merges values into the pending record of `step`; a later step writes the pending one first.

        Args:
            step: optimizer steps done.
            values: numbers (also zero-dimensional arrays and tensors) or strings, by metric.

        Raises:
            ValueError: the record of `step`, or of a later one, is already written.
        """
        if self._pending and step > self._pending["step"]:
            self.flush()
        newest = self._pending.get("step", self._last_step + 1)
        if step < newest:
            raise ValueError(f"{self.path.name}: step {step} comes after step {max(newest, self._last_step)}")
        self._pending.setdefault("step", step)
        self._pending.update({key: encode(value) for key, value in values.items()})

    def flush(self) -> None:
        """Writes the pending record in one call, so that a kill leaves all of it or nothing.

        Raises:
            UserError: the disk did not take it, and has nothing of it.
            TrainingError: somebody removed the file.
        """
        if self._file is not None:
            self._refuse_loss(self._file)
        if not self._pending:
            return
        line = (json.dumps(self._pending, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
        with refusals_told(self.path, len(line)):
            self._file = self._file or self.path.open("ab", buffering=0)
            _append(self._file, line)
        self._last_step = self._pending["step"]
        self._pending = {}

    def _refuse_loss(self, file: FileIO) -> None:
        """Refuse to write on where the file with the earlier records is gone."""
        if not is_in_place(self.path, os.fstat(file.fileno())):
            raise TrainingError(
                f"{self.path} was removed or replaced while the run wrote to it: its records are gone; "
                "the same command goes on from the last checkpoint"
            )

    def rewind(self, step: int) -> None:
        """Cuts the file back to the records of steps up to `step`, in one move; pending values are dropped."""
        self._pending = {}
        self._last_step = -1
        if self.path.exists():
            self._keep_up_to(step)

    def _keep_up_to(self, step: int | None) -> None:
        text = _read(self.path)
        records = _parse(text, self.path)
        kept = [(line, record) for line, record in records if step is None or record["step"] <= step]
        self._last_step = kept[-1][1]["step"] if kept else -1
        kept_text = "".join(line for line, _ in kept)
        if kept_text != text:
            write_text_atomically(self.path, kept_text)
        with refusals_told(self.path):
            self._file = self.path.open("ab", buffering=0)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole records, in order; a torn last line or a missing file is no error.

    Raises:
        UserError: another line is damaged, or the file cannot be read.
    """
    if not path.exists():
        return []
    return [{key: decode(value) for key, value in record.items()} for _, record in _parse(_read(path), path)]


def _append(file: FileIO, line: bytes) -> None:
    """Write all of a line, or nothing: half of one would damage the next."""
    size = os.fstat(file.fileno()).st_size
    try:
        written = 0
        while written < len(line):  # a disk takes what it has room for, and refuses the rest
            written += file.write(line[written:]) or 0
    except OSError:
        os.ftruncate(file.fileno(), size)
        raise


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def best(path: Path, metric: BestMetric, among: Container[int]) -> dict[str, Any] | None:
    """The record of a step `among` these in which a metric is best, the earliest of equals; None if none has it."""
    ranked = [(metric.rank(record), record) for record in read_metrics(path) if record["step"] in among]
    found = [(rank, record) for rank, record in ranked if rank is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def newest_record(path: Path) -> dict[str, Any] | None:
    """The last whole record, from the end of a file of any length; None when there is none."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _BLOCK_BYTES))
            lines = file.read(_BLOCK_BYTES).split(b"\n")[:-1]
    except OSError:
        return None
    # Backwards past damaged lines, which only `read_metrics` refuses.
    return next((record for line in reversed(lines) if (record := _parse_line(line))), None)


def record_of_step(path: Path, step: int) -> dict[str, Any] | None:
    """The record of a step, found by bisection in a file of any length; None when there is none."""
    try:
        with path.open("rb", buffering=0) as file:
            low, high = _narrow(file.fileno(), step, os.fstat(file.fileno()).st_size)
            text = os.pread(file.fileno(), high - low, low)
    except OSError:
        return None
    text = b"\n" + text
    start = max(text.rfind(b'\n{"step": %d%s' % (step, end)) for end in (b",", b"}")) + 1
    return _parse_line(text[start:].partition(b"\n")[0]) if start else None


def _narrow(file: int, step: int, size: int) -> tuple[int, int]:
    """Two places in a file between which the record of a step is, if it is there; the first begins a line."""
    low, high = 0, size
    while high - low > _BLOCK_BYTES:
        block = os.pread(file, _BLOCK_BYTES, (low + high) // 2)
        begin = block.find(b"\n") + 1
        match = _STEP.match(block, begin) if begin else None
        place = (low + high) // 2 + begin
        if match is None or place >= high:
            break
        low, high = (place, high) if int(match[1]) <= step else (low, place)
    return low, high


def _parse_line(line: str | bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if is_record(record) else None


def is_record(value: Any) -> bool:
    """Whether a parsed line is an object with a step; the rest of it may still be damaged."""
    return isinstance(value, dict) and type(value.get("step")) is int and is_number(value["step"])


def _parse(text: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The lines with their records. Only a line with its end was written whole."""
    lines = [f"{line}\n" for line in text.split("\n")[:-1]]
    records = []
    for number, line in enumerate(lines, start=1):
        record = _parse_line(line)
        if record is None:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number}: not a record of metrics; mend or remove that line")
        records.append((line, record))
    return records


def is_number(value: Any) -> bool:
    """Whether a value can be drawn and compared; an integer of 64 bits or more is no float."""
    return type(value) is float or (type(value) is int and value.bit_length() < 64)


def encode(value: Any) -> Any:
    """A value as JSON has it: a number that is not finite becomes a word."""
    number = value.item() if hasattr(value, "item") else value
    if not isinstance(number, float) or math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def decode(value: Any) -> Any:
    """A value as it was before `encode`."""
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
