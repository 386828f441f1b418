"""How long a user waits: for an answer, and for the first optimizer step.

python -m benchmarks.startup [--repeats 5] [--parts answers first_step] [-o startup.json]

Answers are the help, a list of many runs, and mistakes that need no torch to be seen. The first step is that of a run
whose text has been tokenized before, in turn with its peers on the same text, model and batch: the Hugging Face Trainer
(`benchmarks/run_mlm.py`; `pip install accelerate datasets`), and a bare loop of torch and one model class. Seconds are
those of a clock on the wall, and of the processor, which hardly depend on what else the machine does.
"""

import argparse
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.list_runs import write_runs
from benchmarks.machine import machine
from benchmarks.soak_parts.processes import children_seconds
from tests.launching import ROOT, write_corpus

SECONDS_BETWEEN_LOOKS = 0.002
LONGEST_SECONDS = 120
BARE_LOOP = """
import sys, torch
from transformers import AutoConfig, AutoModelForMaskedLM
vocabulary, rows, length = map(int, sys.argv[2:])
model = AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(sys.argv[1], vocab_size=vocabulary))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
ids = torch.randint(5, vocabulary, (rows, length))
model(input_ids=ids, labels=ids).loss.backward()
optimizer.step()
print("step 1", flush=True)
"""


@dataclass(frozen=True)
class Question:
    """Words after `python`, how they end, and how long that may take."""

    name: str
    words: tuple[str, ...]
    aim_seconds: float
    status: int = 2


class Taken(NamedTuple):
    """What a process took."""

    seconds: float
    processor_seconds: float  # of it and those that it waited for


def questions(root: Path) -> Iterator[Question]:
    """What is asked, on the files that `write_place` made."""
    runs, data, nowhere = str(root / "runs"), str(root / "data"), str(root / "nowhere")
    train = ("train.py", "-n", "new", "--out_dir", runs, "-d", data)
    yield Question("train.py --help", ("train.py", "--help"), 0.5, status=0)
    yield Question("runs.py list", ("runs.py", "list", "--out_dir", runs), 0.3, status=0)
    mistakes = {
        "train.py -d /nowhere": (*train, "-d", nowhere),
        "train.py, no such file": (*train, "--train_file", "nothing.txt"),
        "train.py, no such checkpoint": (*train, "--checkpoint", nowhere),
        "train.py, no such model": (*train, "--model", nowhere),
        "train.py, a name that is taken": (*train, "-n", "run-00000", "--seed", "2"),
        "train.py, an unknown flag": (*train, "--learning_rat", "1"),
        "train.py, a wrong value": (*train, "--learning_rate", "fast"),
        "train.py, no such configuration": (*train, "--config_path", f"{nowhere}.yml"),
        "eval.py, no such run": ("eval.py", nowhere),
        "generate.py, no such run": ("generate.py", nowhere),
        "prepare.py -d /nowhere": ("prepare.py", "tokens", "-d", nowhere),
        "sweep.py, no such file": ("sweep.py", f"{nowhere}.yml", "--list"),
        "jobs.py, a mistake of train.py": ("jobs.py", "submit", "--dry_run", "--", *train, "-d", nowhere),
        "runs.py, no such run": ("runs.py", "show", nowhere, "--out_dir", runs),
    }
    for name, words in mistakes.items():
        yield Question(name, words, 1.0)


def write_place(root: Path, num_runs: int) -> None:
    """A text and a workspace of finished runs."""
    write_corpus(root / "data", num_lines=4000)
    write_runs(root / "runs", num_runs)


def ask(question: Question) -> Taken:
    """Have a question answered; a mistake must be told in one line."""
    started, before = time.perf_counter(), children_seconds()
    command = [sys.executable, *question.words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    taken = Taken(time.perf_counter() - started, children_seconds() - before)
    is_told = not question.status or (done.stderr.startswith("error: ") and done.stderr.count("\n") == 1)
    assert (done.returncode, is_told) == (question.status, True), f"{question.words}: {done.stderr}"
    return taken


def first_step(command: Sequence[str], output: Path, sign: Path) -> Taken:
    """Start a training, and stop it when the file `sign` says that its first step is done; it prints to `output`."""
    started, before = time.perf_counter(), children_seconds()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with output.open("wb") as stdout, output.with_suffix(".stderr").open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stdout, stderr=stderr, start_new_session=True
        )
    while not has_content(sign) and process.poll() is None:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    seconds = time.perf_counter() - started
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert has_content(sign), output.with_suffix(".stderr").read_text()
    return Taken(seconds, children_seconds() - before)


def has_content(file: Path) -> bool:
    """Whether something has been written into a file."""
    return file.is_file() and file.stat().st_size > 0


def trainings(root: Path, flags: argparse.Namespace, number: int) -> dict[str, tuple[list[str], Path]]:
    """The commands whose first step is waited for, and the file in which it shows."""
    data, tokenizer, shape = root / "data", root / "tokenizer", [str(flags.rows), str(flags.max_length)]
    name = f"first-{number}"
    vocabulary = len(json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    bare = ["-c", BARE_LOOP, flags.model, str(vocabulary), *shape]
    ours = ["train.py", *train_flags(root, flags), "-n", name]
    found = {
        "train.py": ([sys.executable, *ours], root / "trained" / name / "metrics.jsonl"),
        "a bare loop": ([sys.executable, *bare], root / f"bare-{number}"),
    }
    if importlib.util.find_spec("accelerate") and importlib.util.find_spec("datasets"):
        peer = ["--texts", str(data / "train.txt"), str(data / "dev.txt"), "--tokenizer", str(tokenizer)]
        peer += ["--model", flags.model, "--cache", str(root / "arrow"), "--output", str(root / "trainer")]
        peer += ["--rows", shape[0], "--max_length", shape[1]]
        found["the Trainer"] = ([sys.executable, "-m", "benchmarks.run_mlm", *peer], root / f"trainer-{number}")
    return found


def train_flags(root: Path, flags: argparse.Namespace) -> list[str]:
    """What `train.py` is told."""
    words = ["-d", str(root / "data"), "--tokenizer", str(root / "tokenizer"), "--cache_dir", str(root / "cache")]
    words += ["--out_dir", str(root / "trained"), "--model", flags.model, "--from_scratch", "--trackers", "none"]
    return [*words, "--max_length", str(flags.max_length), "-b", str(flags.rows)]


def measure_answers(root: Path, flags: argparse.Namespace) -> dict[str, list[Taken]]:
    """Ask everything in turn; the first round warms up."""
    asked = list(questions(root))
    rounds = [[ask(question) for question in asked] for _ in range(flags.repeats + 1)][1:]
    return {question.name: [taken[place] for taken in rounds] for place, question in enumerate(asked)}


def measure_first_step(root: Path, flags: argparse.Namespace) -> dict[str, list[Taken]]:
    """Start each training in turn; the first round fills the caches."""
    words = ["-d", str(root / "data"), "--cache_dir", str(root / "cache"), "--out", str(root / "tokenizer")]
    command = [sys.executable, "prepare.py", "tokenizer", *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    measured: dict[str, list[Taken]] = {}
    for number in range(flags.repeats + 1):
        for name, (command, sign) in trainings(root, flags, number).items():
            output = root / f"{name.split()[-1]}-{number}.stdout"
            taken = first_step(command, output if name == "train.py" else sign, sign)
            if number:
                measured.setdefault(name, []).append(taken)
    return measured


def medians(measured: Mapping[str, Sequence[Taken]]) -> dict[str, Taken]:
    """The median of each."""
    return {name: Taken(*map(statistics.median, zip(*taken, strict=True))) for name, taken in measured.items()}


def answers_table(taken: Mapping[str, Taken], root: Path) -> Iterator[str]:
    """A Markdown table."""
    yield "| answer | seconds | processor | aim | |\n|---|---:|---:|---:|---|"
    for question in questions(root):
        seconds, processor = taken[question.name]
        verdict = "good" if seconds <= question.aim_seconds else "slow"
        yield f"| {question.name} | {seconds:.2f} | {processor:.2f} | {question.aim_seconds} | {verdict} |"


def first_step_table(taken: Mapping[str, Taken]) -> Iterator[str]:
    """A Markdown table."""
    yield "| to the first step | seconds | processor | train.py takes |\n|---|---:|---:|---:|"
    ours = taken["train.py"]
    for name, (seconds, processor) in taken.items():
        yield f"| {name} | {seconds:.2f} | {processor:.2f} | {ours.seconds / seconds:.2f} x the time |"


def main() -> None:
    """Measure, print, write."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without it a second start finds all modules compiled
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("answers", "first_step")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="what is measured")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each")
    parser.add_argument("--runs", type=int, default=1000, help="number of run folders that are listed")
    parser.add_argument("--model", default=str(ROOT / "configs/models/roberta-tiny"), help="of the first step")
    parser.add_argument("--rows", type=int, default=8, help="rows of the first step")
    parser.add_argument("--max_length", type=int, default=128, help="tokens of a row")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the figures go, as JSON")
    flags = parser.parse_args()
    report: dict[str, object] = {"command": sys.argv[1:], "machine": machine(), "date": time.strftime("%Y-%m-%d")}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_place(root, flags.runs)
        if "answers" in flags.parts:
            answers = medians(measure_answers(root, flags))
            print("\n".join([*answers_table(answers, root), ""]), flush=True)
            report["answers"] = {name: taken._asdict() for name, taken in answers.items()}
        if "first_step" in flags.parts:
            steps = medians(measure_first_step(root, flags))
            print("\n".join([*first_step_table(steps), ""]))
            report["first step"] = {name: taken._asdict() for name, taken in steps.items()}
    print(f"{report['machine']}; {report['date']}; medians of {flags.repeats}")
    if flags.output is not None:
        flags.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
