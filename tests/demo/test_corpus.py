"""The demo's text: repeatable, shared out without overlap, one document a line, and English."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.demo import corpus
from dlib.demo.corpus import prose_paragraphs, split_documents, write_demo_corpus
from dlib.process.errors import UserError

ROOT = Path(__file__).parents[2]


def lines_of(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return text.split("\n")[:-1]


def test_another_process_writes_the_same_bytes(demo_text: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dlib.demo.corpus", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True)
    for name in ("train.txt", "dev.txt"):
        assert (tmp_path / name).read_bytes() == (demo_text / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev.txt", "train.txt"]


def test_no_document_stands_twice_or_in_both_files(demo_text: Path) -> None:
    documents = lines_of(demo_text / "train.txt") + lines_of(demo_text / "dev.txt")
    assert len(set(documents)) == len(documents)


def test_there_is_enough_text_and_about_a_twentieth_is_for_development(demo_text: Path) -> None:
    train, dev = (demo_text / "train.txt").stat().st_size, (demo_text / "dev.txt").stat().st_size
    assert train > 800_000
    assert 0.02 < dev / (train + dev) < 0.1


def test_every_line_is_one_document_without_other_line_breaks(demo_text: Path) -> None:
    for line in lines_of(demo_text / "train.txt"):
        assert line == " ".join(line.split())
        assert len(line) >= corpus.MIN_DOCUMENT_CHARACTERS


def test_the_text_reads_as_english(demo_text: Path) -> None:
    lines = lines_of(demo_text / "train.txt")
    words = " ".join(lines).split()
    alphabetic = sum(word.strip(".,;:!?()\"'").isalpha() for word in words)
    assert alphabetic / len(words) > 0.85
    assert words.count("the") / len(words) > 0.04
    assert sum(line[-1] in ".!?)\"'" for line in lines) / len(lines) > 0.9
    assert not any(mark in line for line in lines for mark in (">>> ", "::=", "``", ":class:"))


DOCUMENTATION = """
send(message) -> int

Send a message to the *server* and wait
for its ``answer``, see :meth:`Client.wait`.  For example::

    answer = send("this is a message for the server")

    The code goes on here, and it is still code to be left out.

>>> send("this is the first of the messages")
5

* The first point of the list is a sentence of its own.
* The second one is a sentence as well [1].

=======  =========================
a table  is not for the reader here
=======  =========================
"""


def test_only_the_prose_of_a_documentation_text_stays_and_its_markup_goes() -> None:
    assert list(prose_paragraphs(DOCUMENTATION)) == [
        "Send a message to the server and wait for its answer, see Client.wait.",
        "The first point of the list is a sentence of its own.",
        "The second one is a sentence as well.",
    ]


def test_an_added_document_moves_no_other() -> None:
    documents = [f"This is document number {index}." for index in range(2000)]
    train, dev = split_documents(documents)
    more_train, more_dev = split_documents(["One more document.", *documents])
    assert [line for line in more_train if line in set(train)] == train
    assert [line for line in more_dev if line in set(dev)] == dev
    assert 60 < len(dev) < 140


def test_a_python_without_its_documentation_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "lib"))
    with pytest.raises(UserError, match=r"too little text.*PYTHON="):
        write_demo_corpus(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(corpus, "MIN_CORPUS_CHARACTERS", 0)
    monkeypatch.setattr(corpus, "collect_documents", lambda: [f"This is document {i}." for i in range(200)])
    with pytest.raises(UserError, match="cannot write the demo's text"):
        write_demo_corpus(tmp_path / "file" / "demo")
