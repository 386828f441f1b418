"""Calls a script in this process, as a user types it, in a folder of its own; and what must be so after a mistake.

A fresh interpreter with the libraries costs seconds, a call here some milliseconds.
"""

import faulthandler
import importlib
import io
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from unittest.mock import patch

import pytest

from dlib.process.errors import run_script
from dlib.process.ranks import logger
from tests.launching import ROOT, SMALL_MODEL, environment, write_corpus

TIMEOUT_SECONDS = 60
TINY = " ".join(
    [
        "-n new -d data --cache_dir cache --model configs/models/roberta-tiny --from_scratch --vocab_size 300",
        "--max_length 32 -b 8 --micro_batch_size 2 --training_goal 5 --tokenizer_processes 1 --num_workers 0",
        "--accelerator cpu --offline --trackers none --model_overrides",
        *SMALL_MODEL,
    ]
)
"""What `TINY` in a row stands for: a run of five steps that would begin, but for the mistake."""


@dataclass(frozen=True)
class Row:
    """A mistake, and the line that answers it.

    Attributes:
        command: what is typed after `python`; `TINY` stands for the flags of a small run.
        told: a part of the error line, or its beginning where it begins with `error: `.
        files: files to be written before, by path; None removes one.
        variables: environment variables.
        stdin: what is typed into it.
        prepare: what else is to be done before, in the folder.
    """

    command: str
    told: str
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    prepare: Callable[[Path], None] | None = None

    def __str__(self) -> str:
        """The name of the test."""
        return f"{self.command:.60} : {self.told:.80}"


@dataclass(frozen=True)
class Answer:
    """How a script ended: its exit status, and what it printed."""

    status: int
    stdout: str
    stderr: str


def write_place(place: Path, row: Row) -> None:
    """Make a folder with `data/train.txt` and `dev.txt`, `configs/` and what the row wants."""
    write_corpus(place / "data", num_lines=40, num_dev_lines=10)
    (place / "configs").symlink_to(ROOT / "configs")
    for name, content in row.files.items():
        path = place / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    if row.prepare is not None:
        row.prepare(place)


def call(row: Row, place: Path, capture: pytest.CaptureFixture[str]) -> Answer:
    """Run the row's command in a folder, to its end."""
    script, *words = shlex.split(row.command.replace("TINY", TINY))
    module = importlib.import_module(script.removesuffix(".py"))
    capture.readouterr()
    with ExitStack() as stack:
        stack.callback(os.chdir, os.getcwd())
        os.chdir(place)
        stack.enter_context(patch.dict(os.environ, {**environment(), **row.variables}, clear=True))
        stack.enter_context(patch.object(sys, "argv", [script, *words]))
        stack.enter_context(patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(row.stdin.encode()))))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_process_as_it_was())
        stack.enter_context(_time_limit())
        end = stack.enter_context(pytest.raises(SystemExit))
        run_script(module.main)
    printed = capture.readouterr()
    assert isinstance(end.value.code, int)
    return Answer(end.value.code, printed.out, printed.err)


def check_refusal(row: Row, place: Path, capture: pytest.CaptureFixture[str]) -> None:
    """Run the command, and check that it is refused in one line and leaves nothing behind."""
    write_place(place, row)
    before = all_paths(place)
    answer = call(row, place, capture)
    lines = answer.stderr.splitlines()
    assert answer.status == 2, answer
    assert "Traceback" not in answer.stderr
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], answer.stderr
    if row.told.startswith("error: "):
        assert lines[-1].startswith(row.told), lines[-1]
    else:
        assert row.told in lines[-1], lines[-1]
    assert lines[-1].isprintable()
    assert all_paths(place) == before


def all_paths(place: Path) -> set[Path]:
    """All that stands in the folder, but for the cache."""
    return {path for path in place.rglob("*") if path.relative_to(place).parts[0] != "cache"}


@contextmanager
def _process_as_it_was() -> Iterator[None]:
    """Afterwards the signals are handled, and messages go, as before."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    messages = list(logger().handlers)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for log in set(logger().handlers) - set(messages):
            logger().removeHandler(log)
            log.close()


@contextmanager
def _time_limit() -> Iterator[None]:
    """A call that hangs fails; one that hangs in C code, where no handler runs, ends the tests with its traceback."""

    def fail(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"no answer within {TIMEOUT_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TIMEOUT_SECONDS)
    faulthandler.dump_traceback_later(2 * TIMEOUT_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
