"""Starts `train.py` on a small text as a user would, in a process of its own, and never waits for ever.

Importing the libraries takes five seconds. So most runs are forked from one process that has imported them already
(`warm`, see `preloaded.py`): they have their own process group, signals and exit status, and cost half a second. What
depends on a new interpreter (the order of imports, the launching of further processes) starts one.
"""

import atexit
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from unittest.mock import patch

from dlib.args.tables import MODELS
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.exactness.faults import Fault, die_at

ROOT = Path(__file__).parents[1]
TIMEOUT_SECONDS = 240
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""What `train.py` sets before it imports the libraries, which the server has imported already."""
PRELOADED = ["tests.preloaded"]

SUBJECTS = (
    "the old keeper",
    "a small child",
    "the river",
    "her brother",
    "the baker's cat",
    "a stranger from the hills",
)
VERBS = ("opened", "remembered", "carried", "painted", "walked around", "did not like", "always found")
OBJECTS = (
    "the stone bridge",
    "a long letter",
    "three red apples",
    "the garden door",
    "an empty boat",
    "bread and salt",
)
PLACES = ("in the morning", "behind the house", "before winter came", "near the harbour", "while it rained", "at last")

SMALL_MODEL = ("hidden_size=32", "num_hidden_layers=2", "num_attention_heads=2", "intermediate_size=64")


def write_corpus(folder: Path, seed: int = 1, num_lines: int = 400, num_dev_lines: int = 40) -> Path:
    """Writes train.txt (some 40 KB) and dev.txt (a tenth of it); the same seed gives the same bytes."""
    randomness = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train.txt", num_lines), ("dev.txt", num_dev_lines)):
        lines = (" ".join(sentence(randomness) for _ in range(randomness.randint(1, 3))) for _ in range(count))
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def sentence(randomness: random.Random) -> str:
    """A sentence of four parts."""
    text = " ".join(randomness.choice(parts) for parts in (SUBJECTS, VERBS, OBJECTS, PLACES))
    return text[0].upper() + text[1:] + "."


@dataclass(frozen=True)
class Place:
    """Where the runs of a test stand: their text, their cache, their folder."""

    data: Path
    cache: Path
    runs: Path

    def folder(self, name: str) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.runs / name)

    def arguments(self, name: str, *further: str) -> list[str]:
        """The words after `train.py` for a tiny RoBERTa of a few seconds; of flags given twice the last counts."""
        return [
            *("-n", name, "-d", str(self.data), "--cache_dir", str(self.cache), "--out_dir", str(self.runs)),
            *("--model", "configs/models/roberta-tiny", "--from_scratch", "--model_overrides", *SMALL_MODEL),
            *("--vocab_size", "400", "--max_length", "32", "-b", "8", "--micro_batch_size", "2"),
            *("--eval_batch_size", "16", "--learning_rate", "1e-2", "--log_interval", "1"),
            *("--tokenizer_processes", "1", "--num_workers", "0"),
            *("--accelerator", "cpu", "--offline", "--trackers", "none", *further),
        ]


@dataclass(frozen=True)
class Result:
    """How a process ended: its exit status, negative for a signal, and what it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """The last line on stderr."""
        return self.stderr.splitlines()[-1] if self.stderr else ""


class Training:
    """A running `train.py`, the first process of a group of its own. Leaving the `with` block kills what is left."""

    def __init__(self, pid: int, wait: Callable[[float], int | None], outputs: tuple[Path, Path]) -> None:
        self.pid = pid
        self._wait = wait
        self._outputs = outputs

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.signal_group(signal.SIGKILL)
        self._wait(TIMEOUT_SECONDS)

    @property
    def stderr(self) -> str:
        """What it printed on stderr so far."""
        return self._outputs[1].read_text(encoding="utf-8")

    def signal_group(self, number: signal.Signals) -> None:
        """Sends a signal to all its processes, as a terminal does with Ctrl-C."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the first process alone."""
        os.kill(self.pid, number)

    def living_processes(self) -> list[int]:
        """Those of its group that still live, where the system tells."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.pid and state != "Z":
                    found.append(int(stat.parent.name))
        return found

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._wait(0)

    def ends_within(self, seconds: float) -> bool:
        """Waits so long, and returns whether it has ended."""
        return self._wait(seconds) is not None

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until something is so, while the process lives."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert self._wait(0) is None, f"it ended too early: {self.stderr}"
            assert time.monotonic() < deadline, f"waited too long: {self.stderr}"
            time.sleep(0.005)

    def wait_for_steps(self, folder: RunFolder, count: int, *, resumed: bool = False) -> None:
        """Waits until this session of the run has recorded at least `count` optimizer steps."""
        if resumed:  # else the steps that are about to be cut off would count
            self.wait_for(lambda: "goes on after" in self.stderr)
        first = recorded_steps(folder) if resumed else 0
        self.wait_for(lambda: recorded_steps(folder) >= first + count)

    def result(self) -> Result:
        """Waits for the end."""
        status = self._wait(TIMEOUT_SECONDS)
        assert status is not None, f"it does not end: {self.stderr}"
        stdout, stderr = (path.read_text(encoding="utf-8") for path in self._outputs)
        return Result(status, stdout, stderr)


def recorded_steps(folder: RunFolder) -> int:
    """The newest step in metrics.jsonl."""
    records = read_metrics(folder.metrics)
    return records[-1]["step"] if records else 0


def environment() -> dict[str, str]:
    """This process's environment, with one thread a process, and without a launcher's or a tracker's variables."""
    foreign = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "SLURM_", "WANDB_", "DLIB_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | THREADS


def start(arguments: Sequence[str], scratch: Path, fault: Fault | None = None) -> Training:
    """Starts `train.py` in a new interpreter, which kills itself at `fault`; its output goes to files in `scratch`."""
    outputs = output_files(scratch)
    script = ["train.py"] if fault is None else ["-m", "tests.exactness.faulty_train", fault.as_word()]
    with outputs[0].open("wb") as stdout, outputs[1].open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *script, *arguments],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def wait(seconds: float) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode

    return Training(process.pid, wait, outputs)


def start_warm(
    arguments: Sequence[str],
    scratch: Path,
    fault: Fault | None = None,
    *,
    program: str = "train.py",
    output: Path | None = None,
    networks: Mapping[str, str] = MappingProxyType({}),
) -> Training:
    """Starts a program in a process forked from one that has imported the libraries; it kills itself at `fault`.

    It prints to files in `scratch`, or all of it to `output`: a named pipe, or a terminal, which becomes its own.
    `networks` are in its table of models.
    """
    outputs = output_files(scratch) if output is None else (output, output)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=run_here, args=(list(arguments), *outputs, fault, program, dict(networks)))
    with patch.dict(os.environ, {**THREADS, **QUIET}):  # read by the libraries when the server imports them
        process.start()
    assert process.pid is not None

    def wait(seconds: float) -> int | None:
        process.join(seconds)
        return process.exitcode

    training = Training(process.pid, wait, outputs)
    training.wait_for(outputs[1].exists)
    return training


def run_here(
    arguments: list[str],
    stdout: Path,
    stderr: Path,
    fault: Fault | None,
    program: str = "train.py",
    networks: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Makes this process, forked for it, one that runs a program and kills itself at `fault`."""
    os.setsid()
    MODELS.update(networks)
    os.chdir(ROOT)
    wanted = environment()
    os.environ.clear()
    os.environ.update(wanted)
    for descriptor, path in ((1, stdout), (2, stderr)):
        # A terminal becomes that of the process group only if it can be read, too.
        os.dup2(os.open(path, os.O_RDWR if path.is_char_device() else os.O_WRONLY | os.O_CREAT), descriptor)
    if fault is not None:
        die_at(fault)
    sys.argv = [program, *arguments]
    try:
        runpy.run_path(program, run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # a forked process leaves them out, and torch's loader would wait five seconds


def output_files(scratch: Path) -> tuple[Path, Path]:
    """Two files for what a process prints."""
    scratch.mkdir(parents=True, exist_ok=True)
    number = len(list(scratch.glob("*.stdout")))
    (scratch / f"{number}.stdout").touch()
    return scratch / f"{number}.stdout", scratch / f"{number}.stderr"


def train(arguments: Sequence[str], scratch: Path, *, warm: bool = True, fault: Fault | None = None) -> Result:
    """Runs `train.py` to its end, or to `fault`."""
    with (start_warm if warm else start)(arguments, scratch, fault) as training:
        return training.result()


def train_undisturbed(place: Place, goal: Sequence[str], root: Path) -> RunFolder:
    """The run that nothing happens to, in a folder of its own."""
    place = replace(place, runs=root / "runs")
    result = train(place.arguments("run", *goal), root / "output")
    assert result.status == 0, result.stderr
    return place.folder("run")


def evaluate(arguments: Sequence[str], scratch: Path) -> Result:
    """Runs `eval.py` to its end."""
    with start_warm(arguments, scratch, program="eval.py") as evaluation:
        return evaluation.result()
