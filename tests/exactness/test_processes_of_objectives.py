"""Each objective ends alike on two processes and then one, and is evaluated alike on one, two and three."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import assert_same_end
from tests.exactness.ranks import assert_equal_within_float_tolerance, start_ranks, train_ranks
from tests.exactness.test_labels import choices, labelled_text, labelled_words
from tests.launching import Place, train
from tests.objectives.test_metadata_clm import RECORD
from tests.objectives.test_question_answering import question

pytestmark = pytest.mark.slow

GOAL = ("--training_goal", "12", "--eval_interval", "6", "--save_interval", "6", "--max_checkpoints", "-1")
GPT2 = ("--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2")
BERT = ("--model", "configs/models/bert-tiny")
BART = ("--model", "configs/models/bart-tiny", "--model_overrides", "d_model=32", "--eval_generate_samples", "-1")
KINDS: dict[str, tuple[Sequence[dict[str, Any]], Sequence[str]]] = {
    "replaced_token_detection": (
        [],
        ("--model", "configs/models/electra-tiny", "--model_overrides", "num_hidden_layers=2"),
    ),
    "question_answering": ([question(number) for number in range(60)], ("--context_stride", "8")),
    "metadata_clm": (
        [{**RECORD, "year": year} for year in range(60)],
        ("--metadata_fields", "url,year", "--metadata_span_fields", "names", "--metadata_weights", "url=2", *GPT2),
    ),
    "sequence_classification": ([dict(labelled_text(Random(number))) for number in range(60)], BERT),
    "token_classification": ([dict(labelled_words(Random(number))) for number in range(60)], BERT),
    "multiple_choice": ([dict(choices(Random(number))) for number in range(60)], BERT),
    "seq2seq": ([{"source": f"{number:b}", "target": f"{number:b}"[::-1]} for number in range(60)], BART),
    "span_corruption": ([], ("--model", "configs/models/t5-tiny", "--model_overrides", "d_model=32", "d_kv=16")),
}
EVALUATED = {"mlm": ([], ()), "clm": ([], GPT2), **KINDS}
BUCKETS = ("--max_tokens_per_batch", "1024", "--micro_batch_size", "8")
TEXTS = ("--train", "train.jsonl:0.7", "few=dev.jsonl:0.3", "--dev", "dev.jsonl")
MOVED = [
    *(pytest.param(kind, (), id=kind) for kind in KINDS),
    pytest.param("seq2seq", BUCKETS, id="seq2seq-of-like-length"),
    pytest.param("seq2seq", TEXTS, id="seq2seq-of-two-texts"),
]


def flags_of(kind: str) -> list[str]:
    """What a run of it is told of its objective and its model."""
    return ["--objective", kind, *EVALUATED[kind][1]]


def with_documents(place: Place, kind: str, folder: Path) -> Place:
    """Where its documents are."""
    documents = EVALUATED[kind][0]
    if not documents:
        return place
    (folder / kind).mkdir()
    for name, own in (("train", documents[:48]), ("dev", documents[48:])):
        (folder / kind / f"{name}.jsonl").write_text("".join(json.dumps(document) + "\n" for document in own))
    return replace(place, data=folder / kind)


@pytest.mark.parametrize(("kind", "rows"), MOVED)
def test_it_ends_with_the_same_bytes_on_two_and_then_one_process(
    kind: str, rows: Sequence[str], place: Place, tmp_path: Path
) -> None:
    place = with_documents(place, kind, tmp_path)
    one, two = (place.folder(name) for name in ("one", "two"))

    def arguments(name: str, *further: str) -> list[str]:
        return place.arguments(name, *flags_of(kind), *rows, *GOAL, *further)

    def train_on_two_and_one(name: str, *further: str) -> None:
        with start_ranks(arguments(name, *further), 2, tmp_path) as ranks:
            assert ranks.stop_after_steps(place.folder(name), 3)[0].status == 75, ranks.stderr
        results = train_ranks(arguments(name, *further), 1, tmp_path)
        assert [result.status for result in results] == [0], results[0].stderr

    result = train(arguments("one", "--exact_reduce"), tmp_path)
    assert result.status == 0, result.stderr
    train_on_two_and_one("two", "--exact_reduce")
    assert_same_end(two, one)
    train_on_two_and_one("rounded")
    assert_equal_within_float_tolerance(place.folder("rounded"), one)


@pytest.mark.parametrize(("batches", "documents"), [((), 11), (BUCKETS, 12)], ids=["in-order", "of-like-length"])
def test_evaluations_on_one_two_and_three_processes_find_and_write_the_same(
    batches: Sequence[str], documents: int, place: Place, tmp_path: Path
) -> None:
    """All in one process a rank, as its start costs more than they do; 12 documents are 4 batches, so shares differ.

    Of the 12 some are left out by a limit.
    """
    runs = []
    for kind in EVALUATED:
        own = with_documents(place, kind, tmp_path)
        lines = ("--line_by_line",) if batches and not EVALUATED[kind][0] else ()
        dev = f"{'dev.jsonl' if EVALUATED[kind][0] else 'dev.txt'}:limit={documents}"
        short = ("--training_goal", "1", "--eval_batch_size", "3", "--dev", dev)
        result = train(own.arguments(kind, *flags_of(kind), *batches, *lines, *short), tmp_path)
        assert result.status == 0, result.stderr
        runs.append(own.folder(kind).root)

    def evaluated(world_size: int) -> tuple[list[dict[str, float]], list[str]]:
        options = [*map(str, runs), "--json", "--accelerator", "cpu"]
        with start_ranks(options, world_size, tmp_path, program="eval.py") as ranks:
            result = ranks.results()[0]
        assert result.status == 0, ranks.stderr
        found = [json.loads(line)["metrics"] for line in result.stdout.splitlines()]
        return found, [file.read_text() for run in runs for file in run.glob("evals/*.outputs.jsonl")]

    alone = evaluated(1)
    records = [read_metrics(run / "metrics.jsonl")[-1] for run in runs]
    in_training = [{name.removeprefix("dev/"): r[name] for name in r if name.startswith("dev/")} for r in records]
    assert alone[0] == in_training
    assert [len(text.splitlines()) for text in alone[1]] == [documents], "seq2seq writes each document's text"
    for world_size in (2, 3):
        assert evaluated(world_size) == alone
