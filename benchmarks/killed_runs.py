"""A run of `train.py` that is killed again and again: its sessions, and what each kill left.

It stands apart from `kill_resume.py`, which draws the kills and counts what came of them.
"""

import itertools
import json
import random
import re
import signal
import time
from collections.abc import Container, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlib.runs.folder import RunFolder
from tests.exactness.comparing import damage, differences
from tests.exactness.faults import LANDED, Fault
from tests.launching import Place, Result, Training, start

ANY_TIME = "at any time"
TOKENIZATION = "inside tokenization"
TIMED_OUT = 124
BATCH_SIZE, TOTAL_STEPS = 16, 60
GRACE_SECONDS = 60
"""How long processes may outlive the first one, which was killed alone."""

MODELS = {
    "mlm": ("--model", "configs/models/roberta-tiny"),
    "clm": ("--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2"),
    "replaced_token_detection": ("--model", "configs/models/electra-tiny"),
    "span_corruption": ("--model", "configs/models/t5-tiny", "--model_overrides", "d_model=32"),
    "seq2seq": (
        *("--model", "configs/models/bart-tiny", "--model_overrides", "d_model=32", "--eval_generate_samples", "8"),
        *("--max_new_tokens", "8", "--num_beams", "2", "--eval_metrics", "rouge"),
    ),
    "sequence_classification": ("--model", "configs/models/bert-tiny"),
    "token_classification": ("--model", "configs/models/bert-tiny"),
    "multiple_choice": ("--model", "configs/models/bert-tiny"),
    "question_answering": ("--model", "configs/models/bert-tiny", "--context_stride", "8"),
    "metadata_clm": (
        *("--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2"),
        *("--metadata_fields", "number", "source", "--metadata_span_fields", "names", "--metadata_weights", "number=2"),
    ),
}
OF_TEXT = ("mlm", "clm", "replaced_token_detection", "span_corruption")
"""Objectives that read lines of text; the others read what `write_records` writes, a document a row or several."""
ROWS = {
    "packed": (),
    "line by line": ("--line_by_line", "--max_length", "40"),
    "of like length": ("--line_by_line", "--max_length", "40", "--max_tokens_per_batch", str(BATCH_SIZE * 40)),
    "of two texts": ("--train", "{train}:0.7", "b={dev}:0.3"),
}


@dataclass(frozen=True)
class Configuration:
    """A kind of run; dropout is on in all of them."""

    objective: str
    rows: str  # of ROWS
    num_workers: int
    accumulates: bool
    num_devices: int

    def __str__(self) -> str:
        """In words."""
        batch = f"{BATCH_SIZE // self.num_devices // self.micro_batch_size} x {self.micro_batch_size}"
        return f"{self.objective}, {self.rows}, {batch} samples on {self.num_devices}, workers {self.num_workers}"

    @property
    def micro_batch_size(self) -> int:
        """Samples of a micro-batch."""
        return 4 if self.accumulates else BATCH_SIZE // self.num_devices

    def arguments(self) -> tuple[str, ...]:
        """What is said to `train.py` beside names and folders."""
        batch = f"-b {BATCH_SIZE} --micro_batch_size {self.micro_batch_size} --eval_batch_size 16"
        times = f"--training_goal {TOTAL_STEPS} --save_interval 6 --eval_interval 10 --max_checkpoints -1"
        processes = f"--num_devices {self.num_devices} --num_workers {self.num_workers} --tokenizer_processes 2"
        train, dev = ("train.txt", "dev.txt") if self.objective in OF_TEXT else ("records.jsonl", "records-dev.jsonl")
        rows = [word.format(train=train, dev=dev) for word in ROWS[self.rows]]
        files = ("--dev_file", dev) if "--train" in rows else ("--train_file", train, "--dev_file", dev)
        model = ("--objective", self.objective, *MODELS[self.objective])
        return (*model, *rows, *files, *f"{batch} {times} {processes}".split())


def write_records(folder: Path) -> None:
    """Write each line of train.txt and dev.txt as a record that each of the other objectives can learn from."""
    for name, records in (("train.txt", "records.jsonl"), ("dev.txt", "records-dev.jsonl")):
        with (folder / name).open() as lines, (folder / records).open("w") as file:
            for words in map(str.split, lines):
                file.write(f"{json.dumps(record_of(words))}\n")


def record_of(words: Sequence[str]) -> dict[str, Any]:
    """A text and what is known of it: its label, its words', the same backwards, a question, choices, metadata."""
    text, number = " ".join(words), len(words) % 3
    return {
        "text": text,
        "label": number,
        "source": text,
        "target": " ".join(reversed(words)),
        "tokens": words,
        "labels": ["B-THE" if word == "the" else "O" for word in words],
        "question": "Who?",
        "context": text,
        "answers": {"text": [words[0]], "answer_start": [0]},
        "choices": words[:3],
        "number": number,
        "names": [{"start": 0, "end": len(words[0]), "value": "first"}],
    }


@dataclass
class Kill:
    """A kill, and what came of it.

    Attributes:
        aim: what it was aimed at.
        fault: where the process kills itself; None: it is killed from outside.
        delay: seconds from the start, or from the tokenization's beginning, to the kill from outside.
        alone: the first process is killed and the others left to themselves.
        landed: where the run was; None: it had ended before.
        resumed: a later session went on from it.
        findings: what it left that it must not leave.
    """

    aim: str
    fault: Fault | None
    delay: float
    alone: bool
    landed: str | None = None
    resumed: bool = False
    findings: list[str] = field(default_factory=list)


class KilledRun:
    """A run that is compared with an undisturbed one. Leaving the `with` block ends all its processes."""

    def __init__(self, configuration: Configuration, place: Place, name: str, undisturbed: RunFolder) -> None:
        """Begin nothing yet."""
        self.configuration = configuration
        self.place = replace(place, cache=place.runs / f"{name}-cache")
        self.name = name
        self.undisturbed = undisturbed
        self.kills: list[Kill] = []
        self._processes = ExitStack()
        self._trainings: list[Training] = []

    def __enter__(self) -> "KilledRun":
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.close()

    @property
    def folder(self) -> RunFolder:
        """The run."""
        return self.place.folder(self.name)

    def kill(self, kill: Kill) -> None:
        """Let the run go on until it is killed, and note what that left; the next session may begin at once."""
        self.kills.append(kill)
        if kill.aim == TOKENIZATION:  # a cache may be lost at any time
            self.place = replace(self.place, cache=self.place.runs / f"{self.name}-cache-{len(self.kills)}")
        builds, newest = self._builds(), self.newest_step()
        training = self._start(kill.fault)
        if kill.fault is None:
            self._kill_from_outside(training, kill)
        result = result_of(training)
        self._note_going_on(training, result, newest)
        if result.status == 0:
            self._note_end(kill)
        elif result.status == -signal.SIGKILL:
            kill.landed = self._landed(training, result, builds)
            kill.findings += damage(self.folder, self.undisturbed)
        else:
            kill.landed = "failed"
            kill.findings.append(f"the session ended with status {result.status}: {result.last_line}")

    def end(self) -> None:
        """Let the run go on to its end, which must be that of the undisturbed run, and all its processes with it."""
        newest = self.newest_step()
        training = self._start(None)
        result = result_of(training)
        self._note_going_on(training, result, newest)
        if result.status == 0:
            self._note_end(self.kills[-1])
        else:
            message = f"the last session ended with status {result.status}: {result.last_line}"
            self.kills[-1].findings.append(message)

    def wait_for_orphans(self) -> None:
        """Note processes that do not end although the first one is long dead."""
        deadline = time.monotonic() + GRACE_SECONDS
        while any(training.living_processes() for training in self._trainings) and time.monotonic() < deadline:
            time.sleep(0.1)
        for kill, training in zip(self.kills, self._trainings, strict=False):  # the last session has no kill
            if training.living_processes():
                kill.findings.append(f"a process still lives {GRACE_SECONDS} s after the first one was killed")

    def _start(self, fault: Fault | None) -> Training:
        arguments = self.place.arguments(self.name, *self.configuration.arguments())
        training = self._processes.enter_context(start(arguments, self.place.runs / f"{self.name}-output", fault))
        self._trainings.append(training)
        return training

    def _kill_from_outside(self, training: Training, kill: Kill) -> None:
        while kill.aim == TOKENIZATION and not self._builds() and not training.ends_within(0.005):
            pass
        if not training.ends_within(kill.delay):
            (training.signal if kill.alone else training.signal_group)(signal.SIGKILL)

    def _note_going_on(self, training: Training, result: Result, newest: int) -> None:
        """The session went on from the kills before it, as soon as it held the run and knew the step."""
        said = re.search(r"goes on after step (\d+)\n", result.stderr)
        if said is not None and int(said[1]) != newest:
            self.kills[-1].findings.append(f"a session went on after step {said[1]} and not {newest}")
        if said is not None or (newest == 0 and self._held_by(training)):
            for kill in [kill for kill in self.kills if kill.landed is not None]:
                kill.resumed = True

    def _note_end(self, newest: Kill) -> None:
        """The run has ended."""
        newest.findings += differences(self.folder, self.undisturbed)
        for kill in self.kills:
            kill.resumed = True

    def _landed(self, training: Training, result: Result, builds_before: Container[str]) -> str:
        """Where the run was when it was killed, as well as can be told."""
        where = result.stderr.partition(LANDED)[2].partition("\n")[0]  # the others may have printed more
        if where == "inside an evaluation":
            return "evaluation"
        if any(name not in builds_before for name in self._builds()):
            return "tokenization"
        if not self._held_by(training):
            return "start-up"
        status = self.folder.read_status()
        if status is not None and status.state == "finished":
            return "end"
        # The session had removed what others left, so that these are its own.
        if str(self.folder.checkpoints) in where or list(self.folder.checkpoints.glob(".*")):
            return "checkpoint"
        return "training" if self.newest_step() else "before the first checkpoint"

    def _builds(self) -> set[str]:
        """Names of the token stores that are being built, or were when a process was killed."""
        return {path.name for path in self.place.cache.glob(".*.building-*")}

    def _held_by(self, training: Training) -> bool:
        status = self.folder.read_status()
        return status is not None and status.pid == training.pid

    def newest_step(self) -> int:
        """The step of the newest checkpoint, 0 where there is none."""
        checkpoints = self.folder.whole_checkpoints()
        return checkpoints[-1][0] if checkpoints else 0


def result_of(training: Training) -> Result:
    """How a session ended; one that does not end in time has a status of its own."""
    try:
        return training.result()
    except AssertionError:
        return Result(TIMED_OUT, "", "it does not end")


def draw_configurations(randomness: random.Random, count: int) -> list[Configuration]:
    """Some of all configurations, every third with two processes."""
    kinds = [
        (objective, rows, workers, accumulates)
        for objective in MODELS
        for rows in ROWS
        for workers in (0, 2)
        for accumulates in (True, False)
    ]
    randomness.shuffle(kinds)
    chosen = itertools.islice(itertools.cycle(kinds), count)
    return [Configuration(*kind, num_devices=2 if index % 3 == 1 else 1) for index, kind in enumerate(chosen)]
