"""A run on several texts goes on bitwise after a kill, and with another number of processes; each text has its loss."""

import json
import math
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import assert_same_end, differences
from tests.exactness.faults import Fault
from tests.exactness.ranks import train_ranks
from tests.launching import Place, evaluate, train, write_corpus

GOAL = ("--training_goal", "24", "--eval_interval", "6", "--save_interval", "5", "--max_checkpoints", "-1")
TEXTS = (
    "--train",
    "train.txt:0.7",
    "few=few.txt:0.3:limit=20",
    "--dev",
    "dev.txt:limit=30",
    "few=few-dev.txt:limit_tokens=300",
)
ALIKE = (*TEXTS, "--line_by_line", "--max_length", "40", "--max_tokens_per_batch", "320")


@pytest.fixture
def two_texts(place: Place, tmp_path: Path) -> Place:
    """A place with a second, small training and development text."""
    data = write_corpus(tmp_path / "data")
    other = write_corpus(tmp_path / "other", seed=2, num_lines=60)
    for name in ("train", "dev"):
        (other / f"{name}.txt").rename(data / f"few{'-dev' * (name == 'dev')}.txt")
    return replace(place, data=data, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "texts",
    [TEXTS, ("--train", "few.txt", "train.txt"), ALIKE],
    ids=["weights", "by size", "weights, of like length"],
)
def test_a_killed_run_on_several_texts_ends_as_the_undisturbed_one(
    two_texts: Place, tmp_path: Path, texts: Sequence[str]
) -> None:
    undisturbed = train(two_texts.arguments("undisturbed", *GOAL, *texts), tmp_path)
    assert undisturbed.status == 0, undisturbed.stderr
    for count in (2, 3):
        fault = Fault("inside weights", count, str(two_texts.runs))
        assert train(two_texts.arguments("killed", *GOAL, *texts), tmp_path, fault=fault).status == -signal.SIGKILL
    result = train(two_texts.arguments("killed", *GOAL, *texts), tmp_path)
    assert result.status == 0, result.stderr
    assert "goes on after step" in result.stderr
    folder = two_texts.folder("killed")
    assert differences(folder, two_texts.folder("undisturbed")) == []

    for record in read_metrics(folder.metrics):
        told = [value for name, value in record.items() if name.startswith("train/loss_")]
        assert min(told) <= record["train/loss"] <= max(told)


@pytest.mark.parametrize(
    "texts", [pytest.param(TEXTS, id="packed"), pytest.param(ALIKE, id="of like length", marks=pytest.mark.slow)]
)
def test_a_run_that_goes_on_with_two_processes_has_the_bytes_of_one_and_every_development_text_its_numbers(
    two_texts: Place, tmp_path: Path, texts: Sequence[str]
) -> None:
    exact = (*GOAL, *texts, "--exact_reduce")
    assert train(two_texts.arguments("one", *exact), tmp_path).status == 0
    fault = Fault("inside weights", 2, str(two_texts.runs))  # alone up to there, then two
    assert train(two_texts.arguments("two", *exact), tmp_path, fault=fault).status == -signal.SIGKILL
    results = train_ranks(two_texts.arguments("two", *exact), 2, tmp_path)
    assert [result.status for result in results] == [0, 0], results[0].stderr
    one, two = two_texts.folder("one"), two_texts.folder("two")
    assert_same_end(one, two)
    evaluated = [record for record in read_metrics(one.metrics) if "dev/loss" in record]
    assert len(evaluated) == 4
    assert all(record["dev/loss"] != record["dev/few/loss"] for record in evaluated)

    for split, prefix in (("dev", "dev/"), ("few", "dev/few/")):
        result = evaluate([str(one.last), "--split", split, "--accelerator", "cpu", "--json"], tmp_path)
        assert result.status == 0, result.stderr
        assert json.loads(result.stdout)["metrics"]["loss"] == evaluated[-1][f"{prefix}loss"]
    assert (one.evals / "step-00000024.json").is_file(), "it has the name of the run's own text"


def test_a_limited_development_text_has_the_numbers_of_its_first_documents(two_texts: Place, tmp_path: Path) -> None:
    lines = (two_texts.data / "dev.txt").read_text().splitlines(keepends=True)
    (two_texts.data / "first.txt").write_text("".join(lines[:7]))
    flags = (*GOAL, "--training_goal", "6", "--train", "train.txt", "--dev", "first.txt")
    result = train(two_texts.arguments("limited", *flags, "long=dev.txt:limit=7"), tmp_path)
    assert result.status == 0, result.stderr
    assert re.search(r"\n\+ dev/long +the first 7 documents, \d+ tokens\n", result.stderr)
    folder = two_texts.folder("limited")
    last = read_metrics(folder.metrics)[-1]
    assert last["dev/loss"] == last["dev/long/loss"]
    evaluated = evaluate([str(folder.last), "--split", "long", "--accelerator", "cpu", "--json"], tmp_path)
    assert json.loads(evaluated.stdout)["metrics"]["loss"] == last["dev/long/loss"]
    other = train(two_texts.arguments("limited", *flags, "long=dev.txt:limit=8"), tmp_path)
    assert (other.status, "data.dev was" in other.last_line) == (2, True)


def test_each_texts_loss_is_that_of_its_samples_in_the_step(two_texts: Place, tmp_path: Path) -> None:
    short = (*GOAL, "--training_goal", "4", "--objective", "clm", "--model", "configs/models/gpt2-tiny")
    size = ("--model_overrides", "n_embd=32", "n_layer=2", "attn_pdrop=0", "embd_pdrop=0", "resid_pdrop=0")
    assert (
        train(two_texts.arguments("both", *short, *size, "--train", "train.txt:3", "few.txt:1"), tmp_path).status == 0
    )
    folder = two_texts.folder("both")
    # Packed rows of causal modelling weigh the same, so that the step's loss is a mean of its texts' by their turns.
    for record in read_metrics(folder.metrics):
        mean = (3 * record["train/loss_train"] + record["train/loss_few"]) / 4
        assert math.isclose(record["train/loss"], mean, rel_tol=1e-6)


def test_a_development_text_out_of_the_training_text_is_evaluated_again_as_in_training(
    two_texts: Place, tmp_path: Path
) -> None:
    (two_texts.data / "dev.txt").unlink()
    texts = ("--train", "train.txt:2", "few.txt:1", "--dev_split", "60", "--exclude", "few-dev.txt")
    flags = (*GOAL, "--training_goal", "6", *texts)
    fault = Fault("inside weights", 2, str(two_texts.runs))
    assert train(two_texts.arguments("split", *flags), tmp_path, fault=fault).status == -signal.SIGKILL
    result = train(two_texts.arguments("split", *flags), tmp_path)
    assert result.status == 0, result.stderr
    folder = two_texts.folder("split")
    assert "dev_split: 60 = " in folder.config.read_text()
    last = read_metrics(folder.metrics)[-1]
    for split, prefix, name in (("dev", "dev/", ""), ("few", "dev/few/", "-few-")):
        result = evaluate([str(folder.last), "--split", split, "--accelerator", "cpu", "--json"], tmp_path)
        assert result.status == 0, result.stderr
        assert json.loads(result.stdout)["metrics"]["loss"] == last[f"{prefix}loss"]
        assert [*folder.root.glob(f"evals/step-00000006{name}*.json")]
