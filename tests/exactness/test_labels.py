"""Runs on labels, killed in the middle, go on bitwise, are evaluated on one and two processes alike, and are asked."""

import json
import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dlib.runs.metrics_log import read_metrics
from tests.asking import generate
from tests.exactness.comparing import differences
from tests.exactness.faults import Fault
from tests.exactness.ranks import start_ranks
from tests.launching import SMALL_MODEL, Place, sentence, train

GOAL = "--training_goal 24 --eval_interval 8 --save_interval 8 --max_checkpoints -1 --learning_rate 5e-3".split()
SHAPE = ["--model", "configs/models/bert-tiny", "--model_overrides", *SMALL_MODEL]
Record = Mapping[str, Any]


def labelled_text(draw: random.Random) -> Record:
    """A pair, or a text alone."""
    text, pair = sentence(draw), sentence(draw) if draw.random() < 0.7 else None
    return {"text": text, "text_pair": pair, "label": "bread" if "bread" in text else "none"}


def labels_of_text(draw: random.Random) -> Record:
    text = sentence(draw)
    return {"text": text, "label": [word for word in ("bread", "door", "river") if word in text]}


def measured_text(draw: random.Random) -> Record:
    text = sentence(draw)
    return {"text": text, "label": text.count("e") / 4}


def labelled_words(draw: random.Random) -> Record:
    words = sentence(draw).split()[: draw.randint(0, 9)]
    return {"tokens": words, "labels": ["B-THE" if word.lower() == "the" else "O" for word in words]}


def choices(draw: random.Random) -> Record:
    count, question = draw.randint(2, 4), sentence(draw)
    label = draw.randrange(count)
    return {
        "question": question,
        "choices": [question[:9] if n == label else "no" for n in range(count)],
        "label": label,
    }


@dataclass(frozen=True)
class Trial:
    """An objective tried out.

    Attributes:
        name: of the objective.
        make: makes a document.
        best_by: the metric that says which checkpoint is the best.
        line: what the model is asked.
        keys: of the answer as JSON.
    """

    name: str
    make: Callable[[random.Random], Record]
    best_by: str
    line: str
    keys: str = "line text labels probabilities"


TRIALS = {
    "pairs": Trial("sequence_classification", labelled_text, "accuracy", "The river\tfound bread"),
    "several labels": Trial("sequence_classification", labels_of_text, "micro_f1", "The river"),
    "numbers": Trial("sequence_classification", measured_text, "spearman", "The river", "line value"),
    "words": Trial("token_classification", labelled_words, "span_f1", "The old river", "line text words"),
    "choices": Trial("multiple_choice", choices, "accuracy", "Who?\tthe\tno", "line text label probabilities"),
}
BY_DEFAULT = ("pairs", "words")


def write_data(folder: Path, make: Callable[[random.Random], Record]) -> Path:
    draw = random.Random(1)
    folder.mkdir()
    for name, count in (("train", 90), ("dev", 21)):
        lines = (json.dumps(make(draw)) for _ in range(count))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    "trial",
    [pytest.param(its, id=name, marks=[] if name in BY_DEFAULT else pytest.mark.slow) for name, its in TRIALS.items()],
)
def test_a_run_on_labels_is_killed_goes_on_bitwise_is_evaluated_and_asked(
    trial: Trial, place: Place, tmp_path: Path
) -> None:
    place = replace(place, data=write_data(tmp_path / "data", trial.make))
    flags = [*SHAPE, "--objective", trial.name, *GOAL]
    result = train(place.arguments("undisturbed", *flags), tmp_path)
    assert result.status == 0, result.stderr
    status = json.loads(place.folder("undisturbed").status.read_text())
    assert status["best_by"] == f"dev/{trial.best_by}"
    killed = place.folder("killed")
    result = train(place.arguments("killed", *flags), tmp_path, fault=Fault("inside weights", 2, str(place.runs)))
    assert result.status == -signal.SIGKILL, result.stderr
    result = train(place.arguments("killed", *flags), tmp_path)
    assert result.status == 0, result.stderr
    assert "goes on after step 8\n" in result.stderr
    assert differences(killed, place.folder("undisturbed")) == []

    best = next(record for record in read_metrics(killed.metrics) if record["step"] == killed.pointed_step("best"))
    wanted = {name.removeprefix("dev/"): value for name, value in best.items() if name.startswith("dev/")}
    options = [str(killed.root), "--json", "--accelerator", "cpu", "--cache_dir", str(place.cache)]
    for world_size in (1, 2):
        with start_ranks(options, world_size, tmp_path, program="eval.py") as ranks:
            evaluated = ranks.results()[0]
        assert evaluated.status == 0, ranks.stderr
        assert json.loads(evaluated.stdout)["metrics"] == wanted

    asked = generate([str(killed.root), "--accelerator", "cpu", "--json"], f"{trial.line}\n\n".encode(), tmp_path)
    assert asked.status == 0, asked.stderr
    answer, blank = map(json.loads, asked.stdout.splitlines())
    assert answer["line"] == trial.line
    assert list(answer) == list(blank) == trial.keys.split()


MISTAKES = {
    "a label of dev alone": (
        "sequence_classification",
        '{"text": "So.", "label": "a"}\n{"text": "No.", "label": "b"}\n',
        '{"text": "So.", "label": "a"}\n{"text": "Well.", "label": "c"}\n',
        'dev.jsonl line 2: key "label": "c" is no label of the training text, which has "a", "b"',
    ),
    "a number among names": (
        "sequence_classification --label_type regression",
        '{"text": "So.", "label": "1.5"}\n{"text": "No.", "label": "low"}\n',
        '{"text": "So.", "label": "2"}\n',
        'train.jsonl line 2: key "label": "low" is no number, as --label_type regression needs',
    ),
    "a word without a label": (
        "token_classification",
        '{"tokens": ["So", "it", "is"], "labels": [0, 1, 1]}\n{"tokens": ["No", "way"], "labels": [0]}\n',
        '{"tokens": ["So"], "labels": [0]}\n',
        'train.jsonl line 2: key "labels": 1 labels, and "tokens" has 2; give each its label',
    ),
    "no such choice": (
        "multiple_choice",
        '{"question": "Why?", "choices": ["So.", "No."], "label": 1}\n',
        '{"question": "Why?", "choices": ["So.", "No."], "label": 2}\n',
        'dev.jsonl line 1: key "label": 2 is no number of its 2 choices; the first is 0',
    ),
}


@pytest.mark.parametrize(("objective", "train_text", "dev_text", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_document_that_cannot_be_learned_from_is_told_before_training(
    objective: str, train_text: str, dev_text: str, told: str, place: Place, tmp_path: Path
) -> None:
    for name, text in (("train", train_text), ("dev", dev_text)):
        (tmp_path / f"{name}.jsonl").write_text(text)
    place = replace(place, data=tmp_path)
    result = train(place.arguments("run", *SHAPE, "--objective", *objective.split(), "--plan"), tmp_path / "output")
    assert (result.status, result.last_line) == (2, f"error: {tmp_path}/{told}")


TABLES = {
    "a pair in .tsv": ("sequence_classification", "tsv", "text\ttext_pair\tlabel\nSo.\t\tgood\nNo.\tWhy?\tbad\n"),
    "numbers in .csv": ("sequence_classification", "csv", "label,text\n0.5,So.\n3,No.\n"),
    "words in .conll": ("token_classification", "conll", "EU NNP B-ORG\nrejects VBZ O\n\nSo RB O\n"),
}


@pytest.mark.parametrize(("objective", "suffix", "text"), TABLES.values(), ids=TABLES)
def test_tables_and_columns_of_words_are_learned_from(
    objective: str, suffix: str, text: str, place: Place, tmp_path: Path
) -> None:
    for name in ("train", "dev"):
        (tmp_path / f"{name}.{suffix}").write_text(text)
    place = replace(place, data=tmp_path)
    result = train(place.arguments("run", *SHAPE, "--objective", objective, "--plan"), tmp_path / "output")
    assert result.status == 0, result.stderr
