"""Objectives with data or networks of their own end with the same bytes on two processes and then one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import assert_same_end
from tests.exactness.ranks import start_ranks, train_ranks
from tests.exactness.test_labels import choices, labelled_text, labelled_words
from tests.launching import Place, train
from tests.objectives.test_metadata_clm import RECORD
from tests.objectives.test_question_answering import question

pytestmark = pytest.mark.slow

GOAL = ("--training_goal", "12", "--eval_interval", "6", "--save_interval", "6", "--max_checkpoints", "-1")
GPT2 = ("--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2")
BERT = ("--model", "configs/models/bert-tiny")
BART = ("--model", "configs/models/bart-tiny", "--model_overrides", "d_model=32", "--eval_generate_samples", "9")
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


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_with_the_same_bytes_on_two_and_then_one_process_and_is_evaluated_alike(
    kind: str, place: Place, tmp_path: Path
) -> None:
    documents, flags = KINDS[kind]
    if documents:
        place = replace(place, data=tmp_path / "data")
        place.data.mkdir()
        for name, own in (("train", documents[:48]), ("dev", documents[48:])):
            (place.data / f"{name}.jsonl").write_text("".join(json.dumps(document) + "\n" for document in own))

    def arguments(name: str) -> list[str]:
        return place.arguments(name, "--objective", kind, *flags, *GOAL, "--exact_reduce")

    result = train(arguments("one"), tmp_path)
    assert result.status == 0, result.stderr
    with start_ranks(arguments("two"), 2, tmp_path) as ranks:
        assert ranks.stop_after_steps(place.folder("two"), 3)[0].status == 75, ranks.stderr
    assert [result.status for result in train_ranks(arguments("two"), 1, tmp_path)] == [0]
    assert_same_end(place.folder("two"), place.folder("one"))

    best = next(record for record in read_metrics(place.folder("one").metrics) if record["step"] == 12)
    options = [str(place.folder("one").root / "checkpoints" / "step-00000012"), "--json", "--accelerator", "cpu"]
    with start_ranks([*options, "--cache_dir", str(place.cache)], 2, tmp_path, program="eval.py") as ranks:
        [line] = ranks.results()[0].stdout.splitlines()
    wanted = {name.removeprefix("dev/"): value for name, value in best.items() if name.startswith("dev/")}
    assert json.loads(line)["metrics"] == wanted
