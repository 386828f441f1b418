"""`prepare.py` from outside: what it makes is what train.py then finds, and what it says of a text is true."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dlib.preparing.flags import parse_task
from dlib.process.errors import UserError
from tests.bad_input.calling import Answer, Row, call, write_place

HERE = "-d data --cache_dir cache --vocab_size 320 --tokenizer_processes 1"
RUN = (
    f"train.py -n first {HERE} --model configs/models/gpt2-tiny --from_scratch --objective clm --training_goal 2 "
    "--max_length 16 --accelerator cpu --offline --trackers none --plan"
)

Ask = Callable[[str], Answer]


@pytest.fixture
def ask(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Types a command in a folder with a small text."""
    write_place(tmp_path, Row("", ""))
    return lambda command: call(Row(command, ""), tmp_path, capfd)


def stores(place: Path) -> set[str]:
    return {manifest.parent.name for manifest in (place / "cache").glob("*/manifest.json")}


@pytest.mark.parametrize("flags", ["", "--tokenizer_type unigram", "--tokenizer_type whitespace --line_by_line"])
def test_train_finds_what_was_tokenized_ahead(flags: str, ask: Ask, tmp_path: Path) -> None:
    answer = ask(f"prepare.py tokens {HERE} --model configs/models/gpt2-tiny --objective clm {flags}")
    assert answer.status == 0, answer.stderr
    made = stores(tmp_path)
    assert len(made) == 2
    assert all(name in answer.stdout for name in made)
    planned = ask(f"{RUN} {flags}")
    assert planned.status == 0, planned.stderr
    assert stores(tmp_path) == made
    assert "Tokenizing" not in planned.stderr


def test_a_tokenizer_is_trained_into_a_folder_that_train_takes(ask: Ask, tmp_path: Path) -> None:
    answer = ask(f"prepare.py tokenizer {HERE} --out mine --tokenizer_type wordpiece --special_tokens [A] [B]")
    assert answer.status == 0, answer.stderr
    assert answer.stdout.startswith("mine: wordpiece, ")
    vocabulary = json.loads((tmp_path / "mine" / "tokenizer.json").read_text())["model"]["vocab"]
    assert (vocabulary["[A]"], vocabulary["[B]"]) == (5, 6)
    again = ask(f"prepare.py tokenizer {HERE} --out mine")
    assert (again.status, again.stderr) == (2, "error: --out mine: it is there already; name a new folder\n")
    planned = ask(f"{RUN} --tokenizer mine")
    assert planned.status == 0, planned.stderr


def test_a_report_needs_no_model_and_leaves_a_figure(ask: Ask, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = tmp_path / "data" / "dev.txt"
    text.write_text((tmp_path / "data" / "train.txt").read_text().split("\n")[0] + "\nsomething else\n")
    answer = ask(f"prepare.py report {HERE} --png report.png")
    assert answer.status == 0, answer.stderr
    assert "tokenizer: byte_level_bpe, trained on the text, 320 tokens" in answer.stdout
    rows = {line[:28].strip(): line[28:].split() for line in answer.stdout.splitlines()}
    assert rows["documents"] == ["40", "2"]
    assert rows["also in a training text"][:2] == ["-", "1"]
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_several_texts_have_a_column_each(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "data" / "b.txt").write_text("one two three\n" * 5)
    answer = ask(f"prepare.py report {HERE} --train train.txt b.txt:limit=3 --dev dev.txt other=b.txt")
    assert answer.status == 0, answer.stderr
    assert ["train", "b", "dev", "other"] in map(str.split, answer.stdout.splitlines())
    rows = {line[:28].strip(): line[28:].split() for line in answer.stdout.splitlines()}
    assert rows["documents"] == ["40", "3", "10", "5"]
    assert rows["duplicates"][1:4] == ["2", "(66.7", "%)"]


def test_documents_set_apart_have_a_column_too(ask: Ask) -> None:
    answer = ask(f"prepare.py report {HERE} --dev_split 25%")
    assert answer.status == 0, answer.stderr
    assert ["train", "dev", "of", "train"] in map(str.split, answer.stdout.splitlines())
    rows = {line[:28].strip(): line[28:].split() for line in answer.stdout.splitlines()}
    assert sum(map(int, rows["documents"])) == 40
    assert rows["also in a training text"] == ["-", "0"]


def test_a_word_that_the_training_text_lacks_is_told_with_its_line(ask: Ask, tmp_path: Path) -> None:
    with (tmp_path / "data" / "dev.txt").open("a") as file:
        file.write("nowhere\n")
    answer = ask(
        f"prepare.py tokens {HERE} --model configs/models/gpt2-tiny --tokenizer_type whitespace --vocab_size 999"
    )
    assert answer.status == 2
    assert "data/dev.txt line 11: the tokenizer knows no word 'nowhere'" in answer.stderr
    shown = ask(f"prepare.py report {HERE} --tokenizer_type whitespace --unknown_token token")
    rows = {line[:28].strip(): line[28:].split() for line in shown.stdout.splitlines()}
    assert rows["unknown tokens"][:2] == ["0", "1"]


def test_arguments_come_from_files_too(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("vars: {size: 500}\nmodel: {vocab_size: '${vars.size}'}\noptim: {learning_rate: 1}\n")
    task = parse_task(["report", "--config_path", str(file), "--max-length", "9", "--train", "a:1", "b:2"])
    assert (task.args.model.vocab_size, task.args.data.max_length, task.args.data.train) == (500, 9, ["a:1", "b:2"])
    assert not task.names_model
    file.write_text("model: {model: roberta-base}")
    assert parse_task(["report", "--config_path", str(file)]).names_model
    file.write_text("model: {trust_remote_code: true}")
    with pytest.raises(UserError, match="cannot allow code to run"):
        parse_task(["tokens", "--config_path", str(file)])
