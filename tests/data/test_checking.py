"""A document that an objective refuses is told by its file and line, whatever stands before it."""

from pathlib import Path

import pytest

from dlib.data.checking import check_documents
from dlib.data.filtering import DocumentFilter, digest_of, keep_digests
from dlib.data.formats import FORMATS
from dlib.data.records import Document
from dlib.data.samples import Columns
from dlib.data.token_store import TokenStore, build_token_store
from dlib.process.errors import UserError
from tests.toys import train_wordpiece

COLUMNS = Columns(fields=("label",))


def refuse_c(store: TokenStore, document: int) -> None:
    if store.field("label", document) == "c":
        raise UserError("c is none")


def check(text: Path, kept: str = "") -> None:
    tokenizer, cache = train_wordpiece(), text.parent / "cache"
    store = build_token_store(text, tokenizer, separator_id=3, cache_dir=cache, columns=COLUMNS, kept=kept, processes=1)
    check_documents(store, text, "line", refuse_c)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("text.jsonl", '{"text": "", "label": "a"}\n\n{"text": "dog", "label": "c"}\n', 3),
        ("text.csv", 'label,text\na,"two\nlines"\nc,dog\n', 4),
        ("text.tsv", "label\ttext\r\na\tfox\r\nc\tdog\r\n", 3),
    ],
)
def test_the_line_is_that_of_the_file(name: str, content: str, line: int, tmp_path: Path) -> None:
    text = tmp_path / name
    assert text.suffix in FORMATS
    text.write_text(content, newline="")
    with pytest.raises(UserError, match=rf"{name} line {line}: c is none$"):
        check(text)


def test_the_file_is_the_one_of_several_and_documents_that_are_left_out_count(tmp_path: Path) -> None:
    left_out = [digest for word in ("fox", "lazy") if (digest := digest_of([Document(0, (word,))]))]
    kept = DocumentFilter(keep_digests(left_out, tmp_path / "cache")).content
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, label in enumerate("aac"):
        lines = [f'{{"text": "{word}", "label": "{label}"}}\n' for word in ("fox", "dog", "lazy", "quick")]
        (shards / f"{number}.jsonl").write_text("".join(lines))
    with pytest.raises(UserError, match=r"2\.jsonl line 2: c is none$"):
        check(shards, kept)
