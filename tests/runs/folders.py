"""Run folders made by hand, and processes that hold one: what the commands for runs are tried on."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import runs
from dlib.args import ExperimentArgs
from dlib.config.configuration import dump_config
from dlib.process.errors import run_script
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.transfer.manifest import MANIFEST_NAME
from tests.launching import ROOT

HOLD_FOR_EVER = """
import sys, time
from pathlib import Path
from dlib.runs.folder import RunFolder
with (run := RunFolder(Path(sys.argv[1]))).hold():
    run.write_status("running", 10, 100)
    print("held", flush=True)
    time.sleep(600)
"""
RECORD: dict[str, Any] = {
    "time": "2026-01-02T03:04:05+00:00",
    "command": {"argv": ["train.py", "-n", "first"]},
    "git": {"commit": None, "remote": None, "uncommitted_sha256": None},
    "hardware": {"host": "node", "cpu": "a processor", "processes": 1, "threads": 2, "precision": "32-true"},
    "packages": {"torch": "2.1.0", "numpy": "1.26.0"},
    "python": "3.11.7 (main)",
    "platform": "Linux",
    "card": {"kind": "masked language model", "auto_model": "AutoModelForMaskedLM", "pipeline_tag": "fill-mask"},
    "hashes": {"training text": "1" * 64},
    "code": {"diff": None, "untracked": [], "left_out": {}, "left_out_count": 0},
    "sessions": [],
}


def write_run(
    workspace: Path,
    name: str = "first",
    *,
    state: str = "finished",
    losses: Mapping[int, float] = {10: 3.0, 20: 2.0, 30: 2.5},
    args: ExperimentArgs | None = None,
    record: Mapping[str, Any] = {},
) -> RunFolder:
    """Writes a run that was evaluated, and saved, at some steps; the lowest of its dev losses is the best."""
    run = RunFolder(workspace / name)
    run.root.mkdir(parents=True)
    run.config.write_text(dump_config(args or ExperimentArgs()))
    run.record.write_text(json.dumps({**RECORD, **record}))
    run.lock.touch()
    run.log.write_text("step 1\n")
    lines = ({"step": s, "train/loss": y + 1, "train/tokens": s * 100.0, "dev/loss": y} for s, y in losses.items())
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    speeds = ({"step": step, "performance/tokens_per_second": 10.0} for step in losses)
    run.performance.write_text("".join(json.dumps(line) + "\n" for line in speeds))
    for step in losses:
        write_checkpoint(run.checkpoint(step), str(step))
    run.point("last", max(losses))
    run.point("best", min(losses, key=lambda step: losses[step]))
    run.write_status(state, max(losses), max(losses))
    return run


def write_run_with_code(workspace: Path) -> RunFolder:
    """Writes a run with an untracked file whose path is no plain word."""
    run = write_run(workspace)
    (run.untracked / "a folder").mkdir(parents=True)
    (run.untracked / "a folder" / ".hidden ü.py").write_text("1\n")
    return run


def write_checkpoint(path: Path, content: str = "") -> None:
    """Writes the files of a checkpoint."""
    checkpoint = CheckpointFolder(path)
    checkpoint.model.mkdir(parents=True)
    (checkpoint.model / "config.json").write_text("{}")
    (checkpoint.model / "model.safetensors").write_text(content)
    (checkpoint.model / "tokenizer.json").write_text("{}")
    checkpoint.state.write_text(content)


@contextmanager
def held(run: RunFolder) -> "Iterator[subprocess.Popen[str]]":
    """Another process holds the run, and has status.json say that it runs."""
    command = [sys.executable, "-c", HOLD_FOR_EVER, str(run.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@dataclass(frozen=True)
class Answer:
    """How `runs.py` ended: its exit status, and what it printed."""

    status: int
    stdout: str
    stderr: str


def call(*arguments: str | Path, answer: str = "", encoding: str = "utf-8") -> Answer:
    """Runs `runs.py` for a user who answers a question; in this process, because most tests do nothing else."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
    with (
        patch.object(sys, "argv", ["runs.py", *map(str, arguments)]),
        patch.object(sys, "stdin", io.StringIO(answer)),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
        pytest.raises(SystemExit) as end,
    ):
        run_script(runs.main)
    texts = (stream.buffer.getvalue().decode(encoding) for stream in (stdout, stderr))
    assert isinstance(end.value.code, int)
    return Answer(end.value.code, *texts)


def done(*arguments: str | Path, answer: str = "") -> str:
    """What `runs.py` prints when all is well."""
    result = call(*arguments, answer=answer)
    assert result.status == 0, result.stderr
    return result.stdout


def refused(*arguments: str | Path, answer: str = "") -> str:
    """The line with which `runs.py` refuses."""
    result = call(*arguments, answer=answer)
    assert result.status == 2, result
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("error: "), result.stderr
    return lines[-1]


def snapshot(root: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of change of all that stands in a folder."""
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        stat = path.lstat()
        found[str(path)] = (stat.st_ino, stat.st_size, stat.st_ctime_ns)
    return found


def contents(root: Path) -> dict[str, bytes | str]:
    """Content of each file, and target of each link, but for the lock and the manifest."""
    found: dict[str, bytes | str] = {}
    for path in root.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(root))] = os.readlink(path)
        elif path.is_file() and path.name not in (".lock", MANIFEST_NAME):
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


def names(lines: Sequence[str]) -> list[str]:
    """The first words of the lines of a table, without its header and what stands below it."""
    table = lines[1 : lines.index("")] if "" in lines else lines[1:]
    return [line.split()[0] for line in table]
