"""A run once more: the flags, paths and variables that make the recorded one, in a process of its own.

It stands apart from the comparing (`comparison.py`) because it knows the command line of `train.py` and nothing of
numbers. Of the recorded code it asks no more than flags that were there from the beginning.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from dlib.config.strict_yaml import read_yaml
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import is_record
from dlib.runs.record import NUMERIC_VARIABLES

LOCAL_PATHS = ("data.data_dir", "data.cache_dir", "model.model", "model.tokenizer", "model.checkpoint")
LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_", "SLURM_")
"""Whoever started us did not start the repetition's processes: it launches them by itself."""
TRACEBACK = "Traceback (most recent call last)"
STOP_SECONDS = 600
"""How long a stopped repetition may take to end its step and save."""


def runs_in(record: Mapping[str, Any], tree: Path) -> Path:
    """The folder to repeat the command in: the same place of the tree that holds the code."""
    folder = tree / record["command"]["cwd"]
    return folder if folder.is_dir() else tree


def command_flags(
    run: RunFolder, record: Mapping[str, Any], folder: Path, top: Path, data_dir: Path | None
) -> list[str]:
    """The flags that put this machine's paths and the run's number of processes in place of what config.yml says.

    Args:
        run: the run.
        record: what its record.json says.
        folder: where the repetition runs.
        top: the top of this repository, from which a run that was started inside counts where that was.
        data_dir: the folder of the texts, when the user names it.

    Raises:
        UserError: the folder of the texts is not there.
    """
    return path_flags(run, folder, top / record["command"]["cwd"], data_dir) + device_flags(record["hardware"])


def path_flags(run: RunFolder, folder: Path, started: Path, data_dir: Path | None) -> list[str]:
    """Flags for the config's relative local paths, where `folder` lacks what stood where the run was started."""
    config = read_yaml(run.config) or {}
    flags: list[str] = []
    for key in LOCAL_PATHS:
        section, name = key.split(".")
        value = (config.get(section) or {}).get(name)
        if name == "data_dir" and data_dir is not None:
            flags += ["--data_dir", str(data_dir.absolute())]
            if not data_dir.is_dir():
                raise UserError(f"-d {data_dir}: there is no such folder")
        elif value is None:
            continue
        elif (started / value).exists() and not _has_all(folder / value, started / value):
            flags += [f"--{name}", str((started / value).absolute())]
        elif name == "data_dir" and not (folder / value).is_dir():
            raise UserError(f"the run's data folder is not here: {started / value}; give it with -d")
    return flags


def device_flags(hardware: Mapping[str, Any]) -> list[str]:
    """Flags for as many processes as the run had, on one machine; none for a record that does not say."""
    if "processes" not in hardware:
        return []
    devices = ["--accelerator", hardware["accelerator"], "--num_devices", str(hardware["processes"])]
    return [*devices, "--num_nodes", "1", "--cuda_device_ids"]


def numeric_environment(record: Mapping[str, Any]) -> dict[str, str]:
    """This process's environment with the run's variables that enter the numbers, and no others of their kind."""
    foreign = (*NUMERIC_VARIABLES, *LAUNCHER_VARIABLES)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    theirs = record["command"]["environment"]
    numeric = {name: theirs[name] for name in NUMERIC_VARIABLES if name in theirs}
    threads = record["hardware"].get("threads")
    return {**ours, **numeric, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}


def read_records(path: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole records of metrics.jsonl from a byte on, their values as they stand there, and the byte after them.

    Raises:
        UserError: one is damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            whole, newline, _ = file.read().rpartition(b"\n")
        records = [json.loads(line) for line in whole.splitlines()]
    except FileNotFoundError:
        return [], start
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: a record is damaged: {error}") from error
    if not all(map(is_record, records)):
        raise UserError(f"{path}: a record is damaged: it has no step")
    return records, start + len(whole + newline)


class Repetition:
    """A running `train.py`, in a session of its own: a Ctrl-C reaches us, and we end it.

    Attributes:
        folder: its run folder.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", folder: RunFolder, stderr: Path) -> None:
        """Follow a process that writes into `folder` and `stderr`."""
        self.folder = folder
        self._process = process
        self._stderr = stderr
        self._read_bytes = 0

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def new_records(self) -> list[dict[str, Any]]:
        """The records that it wrote since the last call."""
        records, self._read_bytes = read_records(self.folder.metrics, self._read_bytes)
        return records

    def stop(self) -> None:
        """Have it save and end; kill it if it does not."""
        with suppress(subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait(STOP_SECONDS)

    def refuse_failure(self) -> None:
        """Tell why it ended, where it was not by reaching its goal."""
        if self.status:
            text = self._stderr.read_text(encoding="utf-8", errors="replace")
            if TRACEBACK in text:
                print(text[text.index(TRACEBACK) :], end="", file=sys.stderr)
            lines = text.split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
            raise UserError(f"the repetition ended with status {self.status}: {last.removeprefix('error: ')}")

    def __enter__(self) -> "Repetition":
        """Nothing more: it runs already."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Kill what is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def repeating(
    run: RunFolder,
    script: Path,
    flags: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    out_dir: Path,
    stderr: Path,
) -> Iterator[Repetition]:
    """Start the run's configuration once more under `out_dir`; what still runs at the end is killed.

    Args:
        run: the run.
        script: `train.py` of the code that computes.
        flags: what replaces the configuration's own settings.
        cwd: where it runs.
        environment: its variables.
        out_dir: folder for its run folder.
        stderr: file for what it says.
    """
    words = ["--config_path", str(run.config.resolve()), "-n", run.name, "--out_dir", str(out_dir)]
    words += ["--trackers", "none", "--max_time", "none", "--progress", "false", *flags]
    with stderr.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(script), *words],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
        with Repetition(process, RunFolder(out_dir / run.name), stderr) as repetition:
            yield repetition


def _has_all(here: Path, there: Path) -> bool:
    """Whether a file is in both places, or a folder with at least the same names: what git ignores is in no copy."""
    if there.is_dir():
        return here.is_dir() and {path.name for path in there.iterdir()} <= {path.name for path in here.iterdir()}
    return here.exists()
