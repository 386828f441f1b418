"""`eval.py` gives the numbers of training bit by bit, and those that a plain loop or a pencil gives."""

import importlib.util
import json
import math
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerBase

from dlib.args.tables import OBJECTIVES
from dlib.config.configuration import dump_config, load_config
from dlib.measuring.flags import parse_order
from dlib.measuring.subjects import find_subjects
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from dlib.runs.paths import CheckpointFolder
from tests.launching import Place, evaluate, start_warm, train
from tests.toys import wrap

pytestmark = pytest.mark.oldest

GPT2 = ("--objective", "clm", "--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2")
KINDS = {
    "mlm": (),
    "lines": ("--line_by_line", "--whole_word_masking", "--eval_batch_size", "3"),
    "clm": GPT2,
    "half": ("--precision", "bf16-mixed"),
}
GOAL = ("--training_goal", "12", "--save_interval", "4", "--eval_interval", "4", "--max_checkpoints", "-1")
MAX_LENGTH = 32


@pytest.fixture(scope="module")
def trained(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with a finished run of each of `KINDS`."""
    place = replace(session_place, runs=tmp_path_factory.mktemp("trained") / "runs")
    for kind, further in KINDS.items():
        result = train(place.arguments(kind, *GOAL, *further), place.runs)
        assert result.status == 0, result.stderr
    return place


@pytest.fixture
def fresh(trained: Place, tmp_path: Path) -> Place:
    """The same runs, without any evaluation."""
    shutil.copytree(trained.runs, tmp_path / "runs", symlinks=True, ignore=shutil.ignore_patterns("evals"))
    return replace(trained, runs=tmp_path / "runs")


def lines_of(place: Place, scratch: Path, *arguments: str) -> list[dict[str, Any]]:
    """What `eval.py --json` prints, an object a line."""
    options = ("--json", "--accelerator", "cpu", "--cache_dir", str(place.cache))
    result = evaluate([*arguments, *options], scratch)
    assert result.status == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def metrics_in_training(folder: RunFolder) -> dict[int, dict[str, float]]:
    """The metrics on the development text, by step."""
    records = {
        r["step"]: {k[4:]: v for k, v in r.items() if k.startswith("dev/")} for r in read_metrics(folder.metrics)
    }
    return {step: metrics for step, metrics in records.items() if metrics}


@pytest.mark.parametrize("kind", KINDS)
def test_every_checkpoint_has_the_bits_of_training_twice_in_a_row(fresh: Place, tmp_path: Path, kind: str) -> None:
    folder = fresh.folder(kind)
    expected = metrics_in_training(folder)
    assert list(expected) == [4, 8, 12]
    for _ in range(2):
        lines = lines_of(fresh, tmp_path, str(folder.root), "--all")
        assert {line["step"]: line["metrics"] for line in lines} == expected
    files = {step: json.loads((folder.evals / f"step-{step:08d}.json").read_text()) for step in expected}
    assert {step: content["metrics"] for step, content in files.items()} == expected
    assert len(list(folder.evals.glob("*.json"))) == 3


def test_two_processes_have_the_bits_of_one(fresh: Place, tmp_path: Path) -> None:
    runs = [str(fresh.folder(kind).root) for kind in ("clm", "lines")]
    lines = lines_of(fresh, tmp_path, *runs, "--num_devices", "2")
    assert [line["hardware"]["processes"] for line in lines] == [2, 2]
    assert [line["metrics"] for line in lines] == [metrics_in_training(fresh.folder(k))[12] for k in ("clm", "lines")]


def unigram_model(folder: Path, weights: dict[str, float], separator: str) -> None:
    """A GPT-2 whose every next token is drawn with these weights, whatever stands before it, and its tokenizer."""
    config = transformers.GPT2Config(
        vocab_size=len(weights), n_embd=2, n_layer=1, n_head=1, n_positions=16, tie_word_embeddings=False
    )
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.copy_(torch.tensor([1.0, 0.0]))
        model.lm_head.weight[:, 0] = torch.tensor([math.log(weight) for weight in weights.values()])
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(weights)}, unk_token=separator))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrap(tokenizer, bos_token=separator, eos_token=separator, unk_token=separator).save_pretrained(folder)


def test_the_perplexity_of_ten_tokens_is_the_one_computed_by_hand(tmp_path: Path) -> None:
    unigram_model(tmp_path / "model", {"<end>": 1, "the": 4, "cat": 2, "sat": 1, "mat": 2}, separator="<end>")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ten.txt").write_text("the cat sat the mat the the cat sat\n")
    # 9 words and the end: four times 4/10, three times 2/10 (cat, cat, mat), three times 1/10 (sat, sat, end).
    product = 0.4**4 * 0.2**3 * 0.1**3
    arguments = (str(tmp_path / "model"), "-d", str(tmp_path / "data"), "--split", "ten", "--max_length", "8")
    output = tmp_path / "out.json"
    place = Place(tmp_path, tmp_path / "cache", tmp_path)
    (line,) = lines_of(place, tmp_path, *arguments, "--stride", "3", "--output", str(output))
    for prefix in ("", "stride_"):
        assert line["metrics"][f"{prefix}perplexity"] == pytest.approx(product**-0.1, rel=1e-6)
        assert line["metrics"][f"{prefix}loss"] == pytest.approx(-math.log(product) / 10, rel=1e-6)
        assert line["metrics"][f"{prefix}bits_per_byte"] == pytest.approx(-math.log2(product) / 36, rel=1e-6)
    assert line["metrics"]["accuracy"] == 0.4  # "the" is always the guess
    assert [record["metrics"] for record in json.loads(output.read_text())] == [line["metrics"]]
    assert not (tmp_path / "model" / "evals").exists()


def documents(place: Place, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    """The ids of each document of the development text, without special tokens."""
    for line in (place.data / "dev.txt").read_text().splitlines():
        yield tokenizer(line, add_special_tokens=False)["input_ids"]


@torch.no_grad()
def causal_losses(model: Any, tokens: list[int], first_target: int) -> torch.Tensor:
    """The loss of each token from `first_target` on, in one pass of transformers' own model."""
    logits = model(torch.tensor([tokens])).logits[0]
    return F.cross_entropy(
        logits[first_target - 1 : -1].double(), torch.tensor(tokens[first_target:]), reduction="none"
    )


def test_clm_perplexity_is_that_of_a_plain_loop_in_rows_and_in_windows(fresh: Place, tmp_path: Path) -> None:
    folder, stride = fresh.folder("clm"), 12
    model = AutoModelForCausalLM.from_pretrained(CheckpointFolder(folder.best).model).eval()
    tokenizer = AutoTokenizer.from_pretrained(CheckpointFolder(folder.best).model)
    lead, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    texts = list(documents(fresh, tokenizer))

    stream = [token for text in texts for token in (*text, end)]
    rows = [[lead, *stream[i : i + MAX_LENGTH - 1]] for i in range(0, len(stream), MAX_LENGTH - 1)]
    in_rows = torch.cat([causal_losses(model, row, 1) for row in rows])

    in_windows = []
    for text in texts:
        whole, scored = [lead, *text, end], 1
        for begin in range(0, len(whole), stride):
            window = whole[begin : begin + MAX_LENGTH]
            in_windows.append(causal_losses(model, window, scored - begin))
            scored = begin + len(window)
            if scored == len(whole):
                break
    windows = torch.cat(in_windows)
    assert len(windows) == len(in_rows) == len(stream), "every token is scored once"
    assert len(in_windows) > len(texts), "some documents have several windows"

    (line,) = lines_of(fresh, tmp_path, str(folder.root), "--stride", str(stride))
    assert line["metrics"]["perplexity"] == pytest.approx(float(in_rows.mean().exp()), rel=1e-6)
    assert line["metrics"]["stride_perplexity"] == pytest.approx(float(windows.mean().exp()), rel=1e-6)
    num_bytes = (fresh.data / "dev.txt").stat().st_size
    bits_per_byte = float(windows.sum()) / math.log(2) / num_bytes
    assert line["metrics"]["stride_bits_per_byte"] == pytest.approx(bits_per_byte, rel=1e-6)
    assert {name: line["metrics"][name] for name in metrics_in_training(folder)[12]} == metrics_in_training(folder)[12]


@torch.no_grad()
def test_pseudo_perplexity_is_that_of_masking_one_token_after_the_other(fresh: Place, tmp_path: Path) -> None:
    folder, count = fresh.folder("mlm"), 6
    model = AutoModelForMaskedLM.from_pretrained(CheckpointFolder(folder.best).model).eval()
    tokenizer = AutoTokenizer.from_pretrained(CheckpointFolder(folder.best).model)
    losses = []
    for text in list(documents(fresh, tokenizer))[:count]:
        for begin in range(0, len(text), MAX_LENGTH - 2):
            piece = [tokenizer.cls_token_id, *text[begin : begin + MAX_LENGTH - 2], tokenizer.sep_token_id]
            for place in range(1, len(piece) - 1):
                hidden = [*piece[:place], tokenizer.mask_token_id, *piece[place + 1 :]]
                logits = model(torch.tensor([hidden])).logits[0, place].double()
                losses.append(float(F.cross_entropy(logits, torch.tensor(piece[place]))))
    arguments = (str(folder.root), "--pseudo_perplexity", "--max_documents", str(count))
    (line,) = lines_of(fresh, tmp_path, *arguments)
    assert line["metrics"]["pseudo_loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert line["metrics"]["pseudo_perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-6)


def test_results_of_other_texts_and_settings_stand_beside_each_other(fresh: Place, tmp_path: Path) -> None:
    folder = fresh.folder("clm")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(fresh.data / "dev.txt", other / "same.txt")
    shutil.copy(fresh.data / "train.txt", other / "dev.txt")
    names = []
    for further in (
        (),
        ("-d", str(other), "--split", "same"),
        ("-d", str(other)),
        ("--split", "train"),
        ("--stride", "5"),
    ):
        order = parse_order([str(folder.root), *further])
        (subject,) = find_subjects(str(folder.root), order)
        names.append(f"{subject.checkpoint}{subject.evaluation.kind}")
    assert names[:2] == ["step-00000012"] * 2, "the same text is the same, wherever it stands"
    assert names[2].startswith("step-00000012-dev-")
    assert names[3].startswith("step-00000012-train-")
    assert names[2].rpartition("-")[2] == names[3].rpartition("-")[2], "one text, one hash"
    assert len(set(names)) == 4
    output = tmp_path / "out.json"
    (line,) = lines_of(fresh, tmp_path, str(folder.root), "-d", str(other), "--output", str(output))
    assert json.loads(output.read_text()) == [line]
    assert [file.stem for file in folder.evals.glob("*.json")] == [names[2]]
    assert line["text"] == str(other / "dev.txt")


@pytest.mark.parametrize("own", [{"data.dev_split": "10%"}, {"data.dev": ["dev.txt"]}, {"data.dev_file": "dev.txt"}])
def test_a_run_is_evaluated_on_files_wherever_its_own_development_text_stands(
    fresh: Place, tmp_path: Path, own: dict[str, Any]
) -> None:
    folder = fresh.folder("clm")
    folder.config.write_text(dump_config(load_config([folder.config], own)))
    for label in ("pos", "neg"):
        (tmp_path / "test" / label).mkdir(parents=True)
        (tmp_path / "test" / label / "1.txt").write_text(f"how {label} it is\n")
    names, pattern = [], "test/[np]*/*.txt"
    for flag in ("--dev_file", "--split"):
        order = parse_order([str(folder.root), "-d", str(tmp_path), flag, pattern])
        (subject,) = find_subjects(str(folder.root), order)
        assert str(subject.evaluation.text) == str(tmp_path / pattern)
        assert subject.evaluation.args.data.dev_split is None or flag == "--split"
        names.append(subject.evaluation.kind)
    assert [name.split("-")[1] for name in names] == ["dev", "test"]
    assert names[0].rpartition("-")[2] == names[1].rpartition("-")[2]


def test_the_harness_has_a_result_for_each_length_of_what_the_model_reads(trained: Place) -> None:
    root, kinds = str(trained.folder("clm").root), set()
    for further in ((), ("--max_length", "32"), ("--max_length", "16")):
        (subject,) = find_subjects(root, parse_order([root, "--harness", "x", *further]))
        kinds.add(subject.evaluation.kind)
    assert len(kinds) == 2, "32 is the run's own"


def test_a_checkpoint_is_named_in_every_way_a_user_would(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fresh.runs.parent)
    folder = fresh.folder("mlm")
    ways = {
        Path("mlm"): 12,
        folder.root: 12,
        folder.last: 12,
        folder.checkpoint(8): 8,
        CheckpointFolder(folder.checkpoint(4)).model: 4,
        CheckpointFolder(folder.best).model: 12,
    }
    for path, step in ways.items():
        (subject,) = find_subjects(str(path), parse_order([str(path)]))
        assert (subject.name, subject.step, subject.evaluation.kind) == ("mlm", step, "")


def test_a_plain_model_is_evaluated_like_the_run_it_came_from_and_told_in_a_table(fresh: Place, tmp_path: Path) -> None:
    shutil.copytree(CheckpointFolder(fresh.folder("mlm").best).model, tmp_path / "plain")
    arguments = [str(tmp_path / "plain"), "-d", str(fresh.data), "--max_length", "32", "--cache_dir", str(fresh.cache)]
    result = evaluate([*arguments, "--eval_batch_size", "2", "--accelerator", "cpu"], tmp_path)
    assert result.status == 0, result.stderr
    heading, line = (row.split() for row in result.stdout.splitlines())
    assert heading == ["model", "step", "loss", "perplexity", "bits_per_byte", "accuracy"]
    expected = metrics_in_training(fresh.folder("mlm"))[12]
    assert line == [str(tmp_path / "plain"), "-", *(f"{value:.6g}" for value in expected.values())]


def test_wandb_has_the_evaluation_in_the_group_of_the_run(fresh: Place, tmp_path: Path) -> None:
    folder = fresh.folder("mlm")
    lines_of(fresh, tmp_path, str(folder.root), "--trackers", "wandb", "--offline", "--wandb_group", "my-group")
    (session,) = folder.wandb.glob("offline-run-*/*.wandb")
    for word in (b"mlm-evaluation", b"my-group", b"dev/bits_per_byte"):
        assert word in session.read_bytes()
    assert not folder.wandb_run_id.exists(), "the training run's own W&B run is left alone"


MISTAKES = {
    "no folder": (["./nothing"], "no folder 'nothing'"),
    "no objective": (
        ["some/model", "-d", "."],
        f"no run or folder; of a model on the hub say what it learned, with --objective {' or '.join(OBJECTIVES)}",
    ),
    "no text": (
        ["{clm}", "--split", "nope"],
        "it has no nope (.txt, .jsonl",
    ),
    "split is no name": (["{clm}", "--split", ".."], "--split ..: give the name of a text in --data_dir, or a pattern"),
    "no such pattern": (["{clm}", "--split", "nope/*/*.txt"], "it has no nope/*/*.txt; name one of its texts"),
    "stride of mlm": (["{mlm}", "--stride", "4"], "--stride: mlm has no such measure; leave it out"),
    "stride too long": (["{clm}", "--stride", "32"], "--stride 32: windows of --max_length 32"),
    "no stride": (["{clm}", "--stride", "0"], "--stride 0: give at least 1"),
    "pseudo-perplexity of clm": (["{clm}", "--pseudo_perplexity"], "--pseudo_perplexity: clm has no such measure"),
    "harness of mlm": (["{mlm}", "--harness", "x"], "--harness: mlm has no such measure"),
    "harness and stride": (["{clm}", "--harness", "x", "--stride", "4"], "leave out --stride"),
    "documents": (["{clm}", "--max_documents", "4"], "--max_documents: it is for --pseudo_perplexity"),
    "other objective": (["{mlm}", "--objective", "clm"], "run 'mlm' has learned mlm"),
    "not a number": (["{mlm}", "--max_length", "x"], "--max_length: 'x' is not a whole number"),
    "watch and all": (["{mlm}", "--watch", "--all"], "--all: --watch takes every checkpoint"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_anything_is_loaded(trained: Place, mistake: str) -> None:
    arguments, told = MISTAKES[mistake]
    words = [word.format(mlm=trained.folder("mlm").root, clm=trained.folder("clm").root) for word in arguments]
    with pytest.raises(UserError) as error:
        list(find_subjects(words[0], parse_order(words)))
    assert told in str(error.value)


def test_a_mistake_found_on_loading_is_one_line_and_leaves_nothing(fresh: Place, tmp_path: Path) -> None:
    folder = fresh.folder("clm")
    result = evaluate([str(folder.root), "--max_length", "3000", "--accelerator", "cpu"], tmp_path)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr == "error: --max_length 3000: clm has 512 positions; use --max_length 512 or less\n"
    assert list(folder.evals.glob("*.json")) == []
    assert folder.ledger.pinned() == {}


def test_a_model_is_not_asked_what_its_head_cannot_do(fresh: Place, tmp_path: Path) -> None:
    source = CheckpointFolder(fresh.folder("mlm").best).model
    for name in ("masked", "trunk"):
        shutil.copytree(source, tmp_path / name)
    transformers.AutoModel.from_pretrained(source).save_pretrained(tmp_path / "trunk")
    options = ["-d", str(fresh.data), "--cache_dir", str(fresh.cache), "--max_length", "32", "--accelerator", "cpu"]
    for words, told in (
        (
            ["masked", "--objective", "clm"],
            " has not learned clm: as a RobertaForMaskedLM it has learned mlm; ask it for that\n",
        ),
        (["trunk", "--objective", "mlm"], "it is a RobertaModel, which does not hold lm_head, "),
    ):
        result = evaluate([str(tmp_path / words[0]), *words[1:], *options], tmp_path)
        assert (result.status, result.stdout) == (2, "")
        assert told in result.stderr
        assert result.stderr.count("\n") == 1


def test_ctrl_c_ends_it_quietly(fresh: Place, tmp_path: Path) -> None:
    with start_warm(["--watch", str(tmp_path / "later")], tmp_path, program="eval.py") as watching:
        watching.wait_for(lambda: "waiting for a run to begin" in watching.stderr)
        watching.signal_group(signal.SIGINT)
        result = watching.result()
    assert (result.status, result.stdout, result.stderr) == (
        130,
        "",
        f"{tmp_path / 'later'}: waiting for a run to begin: train.py --name later\n",
    )


TASK = """
task: next_word
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{label}}}}"
metric_list: [{{metric: acc}}]
"""


def test_a_task_of_the_users_own_runs_in_lm_eval_on_local_data(fresh: Place, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="the extra harness is not installed")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "next_word.yaml").write_text(TASK.format(file=tmp_path / "test.jsonl"))
    item = {"text": "The old keeper opened the stone", "choices": [" bridge", " xylophone quartz"], "label": 0}
    (tmp_path / "test.jsonl").write_text(json.dumps(item) + "\n")
    folder = fresh.folder("clm")
    tasks = ("--harness", "next_word", "--harness_tasks", str(tmp_path / "tasks"))
    (line,) = lines_of(fresh, tmp_path, str(folder.root), *tasks, "--offline")
    assert line["metrics"] == {"next_word/acc": 1.0}
    (file,) = folder.evals.glob("step-00000012-harness-*.json")
    assert json.loads(file.read_text())["metrics"] == line["metrics"]


def test_a_missing_harness_is_told_in_one_line(fresh: Place, tmp_path: Path) -> None:
    if importlib.util.find_spec("lm_eval") is not None:
        pytest.skip("it is installed")
    result = evaluate([str(fresh.folder("clm").root), "--harness", "x", "--accelerator", "cpu"], tmp_path)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith('error: --harness needs the package lm-eval: pip install "lm-eval[hf]')
