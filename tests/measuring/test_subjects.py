"""The name of a result follows from the settings that its numbers depend on."""

from pathlib import Path
from typing import Any

import pytest

from dlib.config.configuration import load_config
from dlib.data.finding import find_split
from dlib.data.fingerprint import text_sha256
from dlib.measuring.subjects import hash_documents, settings_of_training, short_hash


def name_of(changes: dict[str, Any]) -> str:
    return short_hash(settings_of_training(load_config([], changes), "ab"))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "1ccf3740"),
        ({"objective.objective": "clm"}, "bee071d8"),
        ({"objective.mask_fraction": 0.3, "data.max_length": 64, "data.line_by_line": True}, "d9c139b4"),
        ({"data.document": "line"}, "1ccf3740"),
        ({"hardware.exact_reduce": True, "data.data_dir": "x", "optim.learning_rate": 3}, "1ccf3740"),
    ],
)
def test_results_of_before_keep_their_names(changes: dict[str, Any], name: str) -> None:
    assert name_of(changes) == name


def test_a_new_argument_names_a_result_where_it_is_not_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlib.measuring.settings.ALWAYS_NAMED", ())
    args = load_config([], {"objective.mask_fraction": 0.3})
    assert settings_of_training(args, None) == {"text_sha256": None, "mask_fraction": 0.3}


def test_documents_of_several_lines_name_a_result() -> None:
    assert len({name_of({"data.document": document}) for document in ("auto", "line", "blank_line", "file")}) == 3


def test_a_text_with_another_limit_has_another_hash(tmp_path: Path) -> None:
    (tmp_path / "dev.txt").write_text("a line\n")
    hashes = {}
    for limits in ("", ":limit=2k", ":limit=2000", ":limit=3000", ":limit_tokens=2000", ":limit=2:limit_tokens=2000"):
        args = load_config([], {"data.data_dir": str(tmp_path), "data.dev": [f"dev.txt{limits}"]})
        hashes[limits] = hash_documents(args, "dev", find_split(args.data, "dev"))
    assert hashes[""] == text_sha256(tmp_path / "dev.txt", tmp_path)
    assert hashes[":limit=2k"] == hashes[":limit=2000"]
    assert len({*hashes.values()}) == 5
