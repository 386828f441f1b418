"""What a report says of a corpus is what counting by hand gives."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dlib.browse.plotting import save_figure
from dlib.data.samples import Columns
from dlib.data.token_roles import token_roles
from dlib.data.token_store import TokenStore, build_token_store
from dlib.preparing import report
from dlib.preparing.figure import INCHES, draw_report
from dlib.preparing.report import NamedStore, TextReport, document_hashes, length_ranges, report_on
from dlib.preparing.showing import facts, lengths

TRAIN = ["one two", "three", "one two", "one", "three three three three three", "new two", "one two"]
DEV = ["one", "one", "two three", "three"]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Three words, and a token for all others."""
    words = {word: place for place, word in enumerate(["</s>", "<unk>", "one", "two", "three"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


@pytest.fixture
def stores(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> list[NamedStore]:
    """The two texts, tokenized."""
    named = []
    for name, lines in (("train", TRAIN), ("dev", DEV)):
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
        store = build_token_store(tmp_path / f"{name}.txt", tokenizer, separator_id=0, cache_dir=tmp_path / "cache")
        named.append(NamedStore(name, store, name == "train"))
    return named


@pytest.fixture
def reports(stores: list[NamedStore], tokenizer: PreTrainedTokenizerFast) -> list[TextReport]:
    """Of both."""
    return report_on(stores, token_roles(tokenizer), tokenizer.unk_token_id, max_length=4)


def test_numbers_are_those_counted_by_hand(reports: list[TextReport]) -> None:
    train, dev = reports
    assert (train.documents, train.tokens, train.num_bytes) == (7, 15, sum(map(len, TRAIN)))
    assert (train.lengths.longest, train.lengths.longer_than_row, train.unknown) == (5, 1, 1)
    assert train.lengths.mean == pytest.approx(15 / 7)
    assert train.lengths.quantiles == (2, 2, 2)
    assert train.histogram.tolist() == [0, 2, 4, 1]
    assert (train.duplicates, train.overlap) == (2, None)
    assert (dev.duplicates, dev.overlap, dev.unknown) == (1, 3, 0)


def test_unknown_tokens_do_not_depend_on_how_many_are_read_at_once(
    stores: list[NamedStore], tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "TOKENS_AT_ONCE", 2)
    assert report_on(stores, token_roles(tokenizer), 4, 8)[0].unknown == 6
    assert report_on(stores, token_roles(tokenizer), None, 8)[0].unknown is None
    assert report_on(stores, token_roles(tokenizer), 0, 8)[0].unknown is None, "a separator is nothing unknown"


def test_all_texts_of_a_document_make_it_what_it_is(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    lines = ['{"a": "one", "b": "two"}', '{"a": "one", "b": "three"}', '{"a": "one", "b": "two"}', '{"a": "", "b": ""}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    store: TokenStore = build_token_store(
        tmp_path / "a.jsonl", tokenizer, separator_id=0, cache_dir=tmp_path / "cache", columns=Columns(("a", "b"))
    )
    hashes = document_hashes(store)
    assert hashes[0] == hashes[2]
    assert len(np.unique(hashes)) == 3
    [found] = report_on([NamedStore("train", store, True)], token_roles(tokenizer), None, 8)
    assert (found.documents, found.tokens, found.lengths.longest, found.histogram.tolist()) == (4, 6, 2, [1, 0, 3])


@pytest.mark.parametrize("second", ["one two three", ""])
def test_each_text_of_a_document_has_lengths_of_its_own(
    second: str, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"a": "one", "b": "{second}"}}\n{{"a": "two", "b": ""}}\n')
    store = build_token_store(
        tmp_path / "a.jsonl", tokenizer, separator_id=0, cache_dir=tmp_path / "cache", columns=Columns(("a", "b"))
    )
    reports = report_on([NamedStore("train", store, True)], token_roles(tokenizer), None, max_length=4)
    means, longer = (
        [line.split()[-1] for line in facts(reports) if line.startswith(start)] for start in ("tokens in", "longer")
    )
    assert means == (["2.5", "1.0", "1.5"] if second else ["1.0"])
    assert longer == (["%)", "0", "%)"] if second else ["0"])


def test_the_text_has_a_column_a_text_and_a_bar_a_length(reports: list[TextReport]) -> None:
    rows = {line[:28].strip(): line[28:].split() for line in facts(reports)}
    assert rows["documents"] == ["7", "4"]
    assert rows["duplicates"] == ["2", "(28.6", "%)", "1", "(25.0", "%)"]
    assert rows["also in a training text"] == ["-", "3", "(75.0", "%)"]
    shown = [line.split() for line in lengths(reports)]
    assert [row[0] for row in shown[1:]] == ["1", "2-3", "4-7"]
    assert shown[1][1:3] == ["28.6", "%"]
    assert length_ranges(12)[:4] == ["0", "1", "2-3", "4-7"]
    assert length_ranges(12)[-1] == "1,024-2,047"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_figure_has_the_numbers_and_the_lengths(reports: list[TextReport], ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / f"report.{ending}"
    save_figure(lambda figure: draw_report(figure, reports, "about it"), file, INCHES)
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    if ending == "svg":
        for word in ("about it", "duplicates", "share of the documents (%)", "dev"):
            assert word in content.decode()
