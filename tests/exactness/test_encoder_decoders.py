"""Encoder-decoders train, are killed and resumed, write in their evaluations and are asked, bit by bit."""

import gzip
import json
import random
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.asking import generate
from tests.exactness.comparing import differences
from tests.exactness.faults import Fault
from tests.exactness.ranks import start_ranks
from tests.launching import Place, evaluate, train

GOAL = "--training_goal 12 --eval_interval 4 --save_interval 4 --max_checkpoints -1".split()
BART = ("--model", "configs/models/bart-tiny", "--model_overrides", "d_model=32", "init_std=0.1")
T5 = ("--model", "configs/models/t5-tiny", "--model_overrides", "d_model=32", "d_kv=16", "num_heads=2")
WRITING = "--eval_generate_samples 13 --max_new_tokens 8 --num_beams 2 --eval_batch_size 4".split()
SMALL = ("--objective", "seq2seq", *BART)
SEQ2SEQ = (*SMALL, *WRITING)
HEADER = ("source", "target")
SPANS = ("--objective", "span_corruption", *T5)


@pytest.fixture
def digits(place: Place) -> Place:
    """Where the text is digits, and the same backwards."""
    data = place.runs.parent / "digits"
    write_digits(data, 200, 18)
    return replace(place, data=data)


def write_digits(folder: Path, num_train: int, num_dev: int) -> None:
    """Writes train.jsonl and dev.jsonl: digits with spaces between them as sources, and backwards as targets."""
    folder.mkdir()
    randomness = random.Random(1)
    for name, count in (("train", num_train), ("dev", num_dev)):
        rows = [[str(randomness.randrange(10)) for _ in range(randomness.randint(2, 6))] for _ in range(count)]
        pairs = [{"source": " ".join(row), "target": " ".join(reversed(row))} for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))


def killed_run(place: Place, scratch: Path, further: Sequence[str]) -> RunFolder:
    """A run that was killed inside a checkpoint and inside an evaluation, and ended as the one that was not."""
    assert (result := train(place.arguments("undisturbed", *further, *GOAL), scratch)).status == 0, result.stderr
    arguments = place.arguments("killed", *further, *GOAL)
    for aim in ("weights", "evaluation"):
        fault = Fault(f"inside {aim}", 2, str(place.runs))
        assert train(arguments, scratch, fault=fault).status == -signal.SIGKILL
    result = train(arguments, scratch)
    assert (result.status, "goes on after step 4\n" in result.stderr) == (0, True), result.stderr
    assert differences(place.folder("killed"), place.folder("undisturbed")) == []
    return place.folder("killed")


def dev_metrics(run: RunFolder) -> dict[str, float]:
    """What the run found in its evaluation of its best checkpoint."""
    record = next(record for record in read_metrics(run.metrics) if record["step"] == run.pointed_step("best"))
    return {name.removeprefix("dev/"): value for name, value in record.items() if name.startswith("dev/")}


def evaluated(run: RunFolder, place: Place, scratch: Path, world_size: int, *further: str) -> dict[str, float]:
    """What eval.py finds with so many processes."""
    options = [str(run.root), "--json", "--accelerator", "cpu", "--cache_dir", str(place.cache), *further]
    with start_ranks(options, world_size, scratch, program="eval.py") as ranks:
        result = ranks.results()[0]
    assert result.status == 0, ranks.stderr
    found: dict[str, float] = json.loads(result.stdout)["metrics"]
    return found


def test_seq2seq_ends_writes_and_answers_as_if_it_had_not_been_killed(digits: Place, tmp_path: Path) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    run = killed_run(digits, tmp_path, SEQ2SEQ)
    of_training = dev_metrics(run)
    assert of_training.keys() >= {"loss", "accuracy", "sequence_accuracy", "bleu", "chrf", "chrf++", "exact_match"}
    assert json.loads(run.status.read_text())["best_by"] == "dev/bleu"
    assert evaluated(run, digits, tmp_path, 2, "--eval_generate_samples", "13") == of_training
    everything = evaluated(run, digits, tmp_path, 1)

    [file] = run.root.glob("evals/*-dev-*.outputs.jsonl")
    outputs = [json.loads(line) for line in file.read_text().splitlines()]
    pairs = [json.loads(line) for line in (digits.data / "dev.jsonl").read_text().splitlines()]
    assert [(line["source"], line["reference"]) for line in outputs] == [(p["source"], p["target"]) for p in pairs]
    hypotheses, references = ([line[name] for line in outputs] for name in ("hypothesis", "reference"))
    assert everything["bleu"] == sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert everything["chrf++"] == sacrebleu.corpus_chrf(hypotheses, [references], word_order=2).score
    result = json.loads(Path(str(file).replace(".outputs.jsonl", ".json")).read_text())
    assert result["signatures"]["bleu"].startswith("nrefs:1|")

    lines = "".join(f"{line['source']}\n" for line in outputs).encode()
    flags = "--accelerator cpu --num_beams 2 --max_new_tokens 8 --batch_size 4".split()
    asked = generate([str(run.root), *flags], lines, tmp_path)
    assert asked.status == 0, asked.stderr
    assert asked.stdout.split("\n")[:-1] == hypotheses


def test_a_table_compressed_lines_and_parallel_files_are_gone_on_with(digits: Place, tmp_path: Path) -> None:
    lines = (digits.data / "train.jsonl").read_text().splitlines()
    pairs = [tuple(json.loads(line).values()) for line in lines[:120]]
    (digits.data / "table.csv").write_text(
        "".join(f'{source},"{target}"\n' for source, target in [HEADER, *pairs[:60]])
    )
    (digits.data / "lines.jsonl.gz").write_bytes(gzip.compress("\n".join(lines[120:]).encode()))
    for suffix, texts in zip(("de", "en"), zip(*pairs[60:], strict=True), strict=True):
        (digits.data / f"files.{suffix}").write_text("\n".join(texts))
    killed_run(digits, tmp_path, [*SMALL, "--train", "table.csv:1", "lines.jsonl.gz:2", "files.{de,en}:1"])


def test_span_corruption_ends_as_if_it_had_not_been_killed_and_its_model_learns_pairs(
    place: Place, digits: Place, tmp_path: Path
) -> None:
    run = killed_run(place, tmp_path, SPANS)
    assert evaluated(run, place, tmp_path, 2) == dev_metrics(run)
    further = ["--objective", "seq2seq", "--checkpoint", str(run.root), *GOAL]
    arguments = [word for word in digits.arguments("pairs", *further) if word != "--from_scratch"]
    arguments = [word for word in arguments if not word.startswith(("hidden_", "num_", "intermediate_"))]
    result = train([*arguments, "--model_overrides", "dropout_rate=0.0"], tmp_path)
    assert result.status == 0, result.stderr
    folder = str(digits.folder("pairs").best / "model")
    result = evaluate([folder, "--objective", "seq2seq", "-d", str(digits.data), "--accelerator", "cpu"], tmp_path)
    assert (result.status, "sequence_accuracy" in result.stdout) == (0, True), result.stderr


@pytest.mark.slow
def test_digits_are_learned_backwards(place: Place, tmp_path: Path) -> None:
    data = tmp_path / "digits"
    write_digits(data, 4000, 200)
    small = ["--model_overrides", "d_model=64", "encoder_ffn_dim=128", "decoder_ffn_dim=128", "dropout=0.0"]
    further = ["-b", "64", "--micro_batch_size", "64", "--learning_rate", "3e-3", "--training_goal", "200"]
    words = ["--tokenizer_type", "whitespace", "--eval_generate_samples", "-1", "--max_new_tokens", "8"]
    words += ["--eval_metrics", "exact_match", "--num_beams", "1", "--eval_interval", "100"]
    arguments = replace(place, data=data).arguments("backwards", *SEQ2SEQ, *small, *further, *words)
    result = train([*arguments, "--max_length", "16", "--log_interval", "100"], tmp_path)
    assert result.status == 0, result.stderr
    found = dev_metrics(place.folder("backwards"))
    assert found["exact_match"] > 0.9
    assert found["sequence_accuracy"] > 0.9
