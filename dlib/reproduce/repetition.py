"""A run once more: the flags, paths and variables that make the recorded one, in a process of its own.

The recorded code may be old: it is given no flags but those that were there from the beginning.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlib.args.fields import facts_of
from dlib.config.fields import FIELDS, flag_of
from dlib.config.strict_yaml import read_yaml
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import is_record
from dlib.runs.record import NUMERIC_VARIABLES

NO_INPUTS = ("run.out_dir", "data.train_file", "data.dev_file")
"""Where results go; names in the data folder."""
LOCAL_PATHS = tuple(key for key, field in FIELDS.items() if facts_of(field).path and key not in NO_INPUTS)
LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_", "SLURM_")
"""Whoever started us did not start the repetition's processes: it launches them by itself."""
TRACEBACK = "Traceback (most recent call last)"
STOP_SECONDS = 600
"""How long a stopped repetition may take to end its step and save."""


def runs_in(record: Mapping[str, Any], tree: Path) -> Path:
    """The folder to repeat the command in: the recorded one, in the tree that holds the code."""
    folder = tree / record["command"]["cwd"]
    return folder if folder.is_dir() else tree


def command_flags(
    run: RunFolder, record: Mapping[str, Any], folder: Path, top: Path, data_dir: Path | None
) -> list[str]:
    """Flags for this machine's paths and the run's number of processes, in place of what config.yml says.

    `folder` is where the repetition runs; where the run was started is told from `top`, the top of this repository.

    Raises:
        UserError: the folder of the texts is not there.
    """
    return path_flags(run, folder, top / record["command"]["cwd"], data_dir) + device_flags(record["hardware"])


def path_flags(run: RunFolder, folder: Path, started: Path, data_dir: Path | None) -> list[str]:
    """Flags for the config's local paths that are where the run was started, and not in `folder`."""
    config = read_yaml(run.config) or {}
    flags: list[str] = []
    for key in LOCAL_PATHS:
        value: Any = config
        for name in key.split("."):
            value = (value or {}).get(name)
        if key == "data.data_dir" and data_dir is not None:
            flags += ["--data_dir", str(data_dir.absolute())]
            if not data_dir.is_dir():
                raise UserError(f"-d {data_dir}: there is no such folder")
        elif value is None:
            continue
        elif (started / value).exists() and not _has_all(folder / value, started / value):
            flags += [flag_of(key), str((started / value).absolute())]
        elif key == "data.data_dir" and not (folder / value).is_dir():
            raise UserError(f"the run's data folder is not here: {started / value}; give it with -d")
    return flags


def device_flags(hardware: Mapping[str, Any]) -> list[str]:
    """Flags for as many processes as the run had, on one machine; none for a record that does not say."""
    if "processes" not in hardware:
        return []
    devices = ["--accelerator", hardware["accelerator"], "--num_devices", str(hardware["processes"])]
    return [*devices, "--num_nodes", "1", "--cuda_device_ids"]


def numeric_environment(record: Mapping[str, Any]) -> dict[str, str]:
    """This process's environment, with the variables that enter the numbers as the run had them."""
    foreign = (*NUMERIC_VARIABLES, *LAUNCHER_VARIABLES)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    theirs = record["command"]["environment"]
    numeric = {name: theirs[name] for name in NUMERIC_VARIABLES if name in theirs}
    threads = record["hardware"].get("threads")
    return {**ours, **numeric, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}


def read_records(path: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole records of metrics.jsonl from a byte on, not decoded, and the byte after them."""
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


@dataclass
class Repetition:
    """A running `train.py` that writes into the run folder `folder` and into the file `stderr`."""

    process: "subprocess.Popen[bytes]"
    folder: RunFolder
    stderr: Path
    _read_bytes: int = 0

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self.process.poll()

    def new_records(self) -> list[dict[str, Any]]:
        """The records that it wrote since the last call."""
        records, self._read_bytes = read_records(self.folder.metrics, self._read_bytes)
        return records

    def stop(self) -> None:
        """Have it save and end."""
        with suppress(subprocess.TimeoutExpired):
            self.process.terminate()
            self.process.wait(STOP_SECONDS)

    def refuse_failure(self) -> None:
        """Raise the last line that it printed, where it failed."""
        if self.status:
            text = self.stderr.read_text(encoding="utf-8", errors="replace")
            if TRACEBACK in text:
                print(text[text.index(TRACEBACK) :], end="", file=sys.stderr)
            lines = text.split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
            raise UserError(f"the repetition ended with status {self.status}: {last.removeprefix('error: ')}")


@contextmanager
def repeating(
    run: RunFolder,
    script: Path,
    flags: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    out_dir: Path,
    stderr: Path,
) -> Iterator[Repetition]:
    """Start the run's configuration once more under `out_dir`; what still runs at the end is killed.

    `flags` replace settings of the configuration, and `stderr` is the file for what the repetition says.
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
            start_new_session=True,  # a Ctrl-C reaches us, and we end it
        )
    try:
        yield Repetition(process, RunFolder(out_dir / run.name), stderr)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_all(here: Path, there: Path) -> bool:
    """Whether a file is in both places, or a folder with at least the same names: a copy lacks what git ignores."""
    if there.is_dir():
        return here.is_dir() and {path.name for path in there.iterdir()} <= {path.name for path in here.iterdir()}
    return here.exists()
