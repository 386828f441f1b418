"""A model of verse learns where lines break, and a run keeps what a document was when it began."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.config.configuration import load_config
from dlib.process.errors import UserError
from dlib.runs import session
from tests.asking import generate
from tests.launching import Place, train

PEOPLE = ("First Keeper", "The Baker", "A Child")
VERBS, THINGS = ("I saw", "We found", "You took"), ("the boat", "the bread", "a letter")
FLAGS = [
    *("--objective", "clm", "--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2"),
    *("--max_length", "64", "-b", "16", "--micro_batch_size", "16", "--training_goal", "60", "--warmup", "5"),
]


def write_verse(folder: Path) -> Path:
    """Writes speeches of a few short lines, with blank lines between them."""
    randomness = random.Random(1)

    def speech() -> str:
        verses = (f"{randomness.choice(VERBS)} {randomness.choice(THINGS)}," for _ in range(randomness.randint(1, 2)))
        return "\n".join([f"{randomness.choice(PEOPLE)}:", *verses, "and that is all.\n"])

    folder.mkdir()
    for name, number in (("train.txt", 400), ("dev.txt", 20)):
        (folder / name).write_text("\n".join(speech() for _ in range(number)))
    return folder


def test_a_model_of_verse_goes_on_over_line_ends(place: Place, tmp_path: Path) -> None:
    place = replace(place, data=write_verse(tmp_path / "verse"))
    result = train(place.arguments("verse", *FLAGS), tmp_path)
    assert result.status == 0, result.stderr
    assert "documents    400, " in result.stderr
    assert "between blank lines (--document blank_line): lines are short" in result.stderr
    folder = place.folder("verse")
    assert load_config([folder.config]).data.document == "blank_line"

    command = [str(folder.root), "--temperature", "0"]
    whole = generate([*command, "--json"], b"The Baker:\n", tmp_path)
    continuation = json.loads(whole.stdout)["continuation"]
    assert continuation.startswith("\n")
    assert continuation.endswith("and that is all.")
    plain = generate(command, b"The Baker:\n", tmp_path)
    assert plain.stdout == f"The Baker:{continuation}".replace("\n", "\\n") + "\n"

    asked = load_config([folder.config], {"data.document": "auto"})
    assert session.check(folder, asked).data.document == "blank_line"
    with pytest.raises(UserError, match=r"data\.document was 'blank_line', now 'line'"):
        session.check(folder, load_config([folder.config], {"data.document": "line"}))


def test_a_run_from_before_there_were_documents_of_several_lines_keeps_its_lines(place: Place) -> None:
    folder = place.folder("old")
    folder.root.mkdir(parents=True)
    folder.lock.touch()
    folder.config.write_text("model:\n  vocab_size: 300\n")
    args = load_config([folder.config])
    assert args.data.document == "auto"
    assert session.check(folder, args).data.document == "line"
