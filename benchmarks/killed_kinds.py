"""The kinds of run that are killed: objectives, rows, processes, and the text that all of them learn from.

It stands apart from `killed_runs.py`, which kills them.
"""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH_SIZE, TOTAL_STEPS = 16, 60

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
    in_background: bool  # whether checkpoints are written there

    def __str__(self) -> str:
        """In words."""
        batch = f"{BATCH_SIZE // self.num_devices // self.micro_batch_size} x {self.micro_batch_size}"
        shared = f"{batch} samples on {self.num_devices}, workers {self.num_workers}"
        return f"{self.objective}, {self.rows}, {shared}{', in the background' if self.in_background else ''}"

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
        saved = ("--save_in_background",) if self.in_background else ()
        return (*model, *rows, *files, *f"{batch} {times} {processes}".split(), *saved)


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


def draw_configurations(randomness: random.Random, count: int) -> list[Configuration]:
    """Some of all configurations, every third with two processes, every second saved in the background."""
    kinds = [
        (objective, rows, workers, accumulates)
        for objective in MODELS
        for rows in ROWS
        for workers in (0, 2)
        for accumulates in (True, False)
    ]
    randomness.shuffle(kinds)
    chosen = itertools.islice(itertools.cycle(kinds), count)
    return [
        Configuration(*kind, num_devices=2 if index % 3 == 1 else 1, in_background=index % 2 == 1)
        for index, kind in enumerate(chosen)
    ]
