"""Computes the golden loss curves anew. Do so only for a change that is meant to change what is learned, and say why.

python -m tests.golden.regenerate [OBJECTIVE ...]
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from dlib.runs.metrics_log import read_metrics
from tests.exactness.test_labels import choices, labelled_text, labelled_words
from tests.launching import Place, train, write_corpus
from tests.objectives.test_metadata_clm import RECORD
from tests.objectives.test_question_answering import question

FOLDER = Path(__file__).parent
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
STEPS, EVAL_INTERVAL = 20, 10
GPT2 = ["--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2"]
OBJECTIVES = {
    "mlm": ["--model", "configs/models/roberta-tiny", "--whole_word_masking"],
    "clm": ["--objective", "clm", *GPT2],
    "metadata_clm": [
        *("--objective", "metadata_clm", "--metadata_fields", "url,year", "--metadata_span_fields", "names", *GPT2),
        *("--metadata_weights", "url=2"),
    ],
    "question_answering": ["--objective", "question_answering", "--context_stride", "8"],
    **{
        name: ["--objective", name, "--model", "configs/models/bert-tiny"]
        for name in ("sequence_classification", "token_classification", "multiple_choice")
    },
    "replaced_token_detection": [
        *("--objective", "replaced_token_detection", "--model", "configs/models/electra-tiny"),
        *("--model_overrides", "num_hidden_layers=2"),
    ],
    "seq2seq": [
        *("--objective", "seq2seq", "--model", "configs/models/bart-tiny", "--model_overrides", "d_model=32"),
        *("--label_smoothing_factor", "0.1"),
    ],
    "span_corruption": [
        *("--objective", "span_corruption", "--model", "configs/models/t5-tiny", "--model_overrides", "d_model=32"),
        *("d_kv=16", "num_heads=2"),
        *("--learning_rate", "1e-3"),  # at 1e-2 a last bit grows to 4e-3 of a gradient within the 20 steps
    ],
}
"""Flags of each curve. Dropout is on, a step has four micro-batches, a quarter of the steps warms up."""

DOCUMENTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "metadata_clm": lambda number: {**RECORD, "year": number},
    "question_answering": question,
    "sequence_classification": lambda number: dict(labelled_text(Random(number))),
    "token_classification": lambda number: dict(labelled_words(Random(number))),
    "multiple_choice": lambda number: dict(choices(Random(number))),
    "seq2seq": lambda number: {"source": f"{number:b}", "target": f"{number:b}"[::-1]},
}
"""Documents by number, of objectives that read more than a text."""


def flags_of(objective: str) -> list[str]:
    """The flags of a golden run; all that decides its losses is fixed here and in `Place.arguments`."""
    schedule = ["--training_goal", str(STEPS), "--warmup", "25%", "--eval_interval", str(EVAL_INTERVAL)]
    return [*OBJECTIVES[objective], *schedule, "--precision", "32-true", "--seed", "1"]


def compute_curve(objective: str, place: Place, scratch: Path, *further: str) -> dict[str, list[float]]:
    """Trains, and returns the training losses of all steps and the dev losses, in nats."""
    name = f"golden-{objective}-{len(further)}"
    if objective in DOCUMENTS:
        place = replace(place, data=scratch / objective)
        write_documents(place.data, DOCUMENTS[objective])
    result = train(place.arguments(name, *flags_of(objective), *further), scratch)
    assert result.status == 0, result.stderr
    records = read_metrics(place.folder(name).metrics)
    names = ("train/loss", "train/gradient_norm", "dev/loss")
    return {name: [record[name] for record in records if name in record] for name in names}


def write_documents(folder: Path, document: Callable[[int], dict[str, Any]]) -> None:
    """Writes train.jsonl and dev.jsonl."""
    folder.mkdir(parents=True)
    for name, numbers in (("train", range(80)), ("dev", range(80, 100))):
        lines = (json.dumps(document(number)) + "\n" for number in numbers)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def curve_file(objective: str) -> Path:
    """The file of a golden curve."""
    return FOLDER / f"{objective}.json"


def main() -> None:
    """Rewrites the files of the objectives that are named, or of all."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        place = Place(data=write_corpus(root / "data"), cache=root / "cache", runs=root / "runs")
        for objective in sys.argv[1:] or OBJECTIVES:
            content: dict[str, Any] = {
                "packages": {package: version(package) for package in PACKAGES},
                "curve": compute_curve(objective, place, root / "output"),
            }
            curve_file(objective).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(f"{curve_file(objective)}: {content['curve']['train/loss'][-1]:.4f}")


if __name__ == "__main__":
    main()
