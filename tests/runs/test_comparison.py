"""What two runs differ in is told in words, bit by bit, and nothing else is called a difference."""

from pathlib import Path
from typing import Any

import pytest

from dlib.runs.comparison import (
    NumbersComparison,
    describe_changes,
    describe_values,
    differing_file,
    is_same,
    later_changes,
    records_up_to,
)
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder

HARDWARE = {"host": "one", "cpu": "Old", "accelerator": "cuda", "gpus": ["H200"], "processes": 1, "threads": 4}
RECORD: dict[str, Any] = {
    "hardware": HARDWARE,
    "packages": dict.fromkeys(("aaa", "bbb", "ccc", "ddd", "torch", "numpy"), "1"),
    "python": "3.11.9 (main)",
    "platform": "Linux-6",
    "hashes": {"training text": "a", "development text": "b", "tokenizer": "c"},
    "git": {"commit": "0123456789abcdef"},
    "code": {"left_out": {}},
    "sessions": [],
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[RunFolder, RunFolder]:
    """A repetition and its run, both with an untracked file."""
    for name in ("here", "run"):
        (RunFolder(tmp_path / name).untracked / "dlib").mkdir(parents=True)
        (RunFolder(tmp_path / name).untracked / "dlib" / "new.py").write_text("x = 1\n")
    return RunFolder(tmp_path / "here"), RunFolder(tmp_path / "run")


def numbers(*records: dict[str, Any], steps: int | None = None) -> NumbersComparison:
    """A comparison with a run of these records."""
    return NumbersComparison(records_up_to(records, steps))


def test_equal_records_are_the_same(folders: tuple[RunFolder, RunFolder]) -> None:
    ours = {**RECORD, "hardware": {**HARDWARE, "host": "two"}}  # another machine of the same kind
    assert describe_changes(*folders, (ours, RECORD)) == [
        f"{name}: the same" for name in ("hardware", "packages", "data", "code")
    ]


def test_the_clone_itself_is_no_package_whose_version_matters(folders: tuple[RunFolder, RunFolder]) -> None:
    installed = {**RECORD, "packages": {**RECORD["packages"], "dlib": "0.1.0"}}  # `pip install -e .` of docs/python.md
    assert describe_changes(*folders, (RECORD, installed))[1] == "packages: the same"


def test_what_changed_is_named_with_both_values(folders: tuple[RunFolder, RunFolder]) -> None:
    here, run = folders
    (here.untracked / "dlib" / "new.py").write_text("x = 2\n")
    run.uncommitted_diff.write_text("a diff")
    ours = {
        **RECORD,
        "hardware": {**HARDWARE, "threads": 2, "gpus": []},
        "packages": {**RECORD["packages"], "torch": "2"},
        "python": "3.12.1 (main)",
        "hashes": {**RECORD["hashes"], "training text": "d", "tokenizer": "e"},
        "git": {"commit": "fedcba9876543210"},
    }
    theirs = {**RECORD, "code": {"left_out": {"big.bin": "too big"}}}
    assert describe_changes(here, run, (ours, theirs)) == [
        "hardware: changed: gpus none was H200, threads 2 was 4",
        "packages: changed: torch 2 was 1, python 3.12.1 was 3.11.9",
        "data: changed: training text, tokenizer",
        "code: changed: commit fedcba9876 was 0123456789, uncommitted changes, dlib/new.py; not in the record: big.bin",
    ]


def test_of_many_changes_the_first_are_told_those_that_compute_before_others(
    folders: tuple[RunFolder, RunFolder],
) -> None:
    packages = {name: "2" for name in RECORD["packages"] if name != "bbb"} | {"eee": "1"}
    lines = describe_changes(*folders, ({**RECORD, "packages": packages}, RECORD))
    told = "numpy 2 was 1, torch 2 was 1, aaa 2 was 1, bbb missing was 1, ccc 2 was 1, and 2 more"
    assert lines[1] == f"packages: changed: {told}"


def test_a_run_that_went_on_otherwise_is_told() -> None:
    same = {"from_step": 10, "hardware": HARDWARE, "git": RECORD["git"]}
    other = {
        "from_step": 20,
        "hardware": {**HARDWARE, "processes": 2},
        "git": {"commit": "f", "uncommitted_sha256": "a"},
        "changed_packages": ["torch 2 was 1"],
    }
    git = {**RECORD["git"], "uncommitted_sha256": "b"}
    lines = list(later_changes({**RECORD, "git": git, "sessions": [{**same, "git": git}, other]}))
    told = "processes 2 was 1, torch 2 was 1, commit, uncommitted changes"
    assert lines == [f"from step 20 on the run itself went on with changes: {told}"]


def test_the_first_quantity_that_differs_is_told_with_both_values() -> None:
    run = numbers({"step": 1, "loss": 5.0, "norm": 1.0}, {"step": 2, "loss": 4.0, "norm": 1.0})
    assert run.take({"step": 1, "loss": 5.0, "norm": 1.0, "new": 3}) is None
    difference = run.take({"step": 2, "loss": 4.0004, "norm": 7.0})
    assert str(difference) == "differs at step 2: loss 4.0004 here, 4.0 in the run (relative 1.0e-04)"
    assert (run.compared_step, run.new_names) == (1, {"new"})


def test_a_missing_record_or_quantity_is_a_difference_and_one_more_is_none() -> None:
    run = numbers({"step": 5, "loss": 5.0}, {"step": 10, "loss": 4.0})
    assert run.take({"step": 4, "loss": 9.0}) is None
    assert run.take({"step": 5, "loss": 5.0}) is None
    assert str(run.take({"step": 11})) == "differs at step 10: no record here, one in the run"
    missing = numbers({"step": 1, "loss": 5.0}).take({"step": 1})
    assert str(missing) == "differs at step 1: loss is not recorded here, and 5.0 in the run"


def test_as_many_records_are_compared_as_reach_the_step() -> None:
    run = numbers({"step": 1}, {"step": 10}, {"step": 20}, steps=5)
    assert [record["step"] for record in run.waiting] == [1, 10]
    assert [run.take({"step": step}) for step in (1, 10, 99)] == [None] * 3
    assert (run.compared_step, len(run.waiting)) == (10, 0)


@pytest.mark.parametrize(
    ("here", "run", "same"),
    [(1.0, 1.0, True), (0.1 + 0.2, 0.3, False), (0.0, -0.0, False), ("NaN", "NaN", True), ("NaN", 1.0, False)],
)
def test_values_are_compared_by_bits(here: Any, run: Any, same: bool) -> None:
    assert is_same(here, run) is same


def test_no_ratio_is_told_where_there_is_none() -> None:
    assert describe_values("loss", "NaN", 1.0) == "loss NaN here, 1.0 in the run"
    assert describe_values("loss", 1.0, 0.0) == "loss 1.0 here, 0.0 in the run"


def test_the_file_that_differs_between_checkpoints_is_named(tmp_path: Path) -> None:
    here, run = CheckpointFolder(tmp_path / "here"), CheckpointFolder(tmp_path / "run")
    for checkpoint in (here, run):
        checkpoint.model.mkdir(parents=True)
        (checkpoint.model / "model.safetensors").write_bytes(b"weights")
        checkpoint.state.write_bytes(b"state")
    (here.model / "config.json").write_text("{}")
    assert differing_file(here.root, run.root) is None
    here.state.write_bytes(b"stat3")
    assert differing_file(here.root, run.root) == "state.ckpt"
    (run.model / "model-2.safetensors").write_bytes(b"more")
    assert differing_file(here.root, run.root) == "model-2.safetensors"
