"""Filters and orders of runs."""

import time
from pathlib import Path

import pytest

from dlib.browse.listing import Listing, in_order, parse_filter, print_list, selected
from dlib.browse.quantities import quantity
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.registry import RunSummary
from dlib.runs.status import Status
from tests.runs.folders import write_run

DAY = 86400


def run(
    name: str,
    state: str = "finished",
    step: int | None = 100,
    loss: float | str | None = 2.0,
    days: float = 1,
    size: int = 1000,
) -> RunSummary:
    return RunSummary(RunFolder(Path("runs", name)), state, step, 100, loss, time.time() - days * DAY, size)


RUNS = [
    run("bert-a", step=900, loss=2.0, days=40, size=3_000_000_000),
    run("bert-b", "failed", step=1000, loss="NaN", days=5),
    run("gpt", "killed", step=2000, loss=3.5, days=0.1),
    run("new", "created", step=None, loss=None, days=0),
]


@pytest.mark.parametrize(
    ("expressions", "names"),
    [
        ([], ["bert-a", "bert-b", "gpt", "new"]),
        (["state=finished"], ["bert-a"]),
        (["state=failed,killed"], ["bert-b", "gpt"]),
        (["state!=finished"], ["bert-b", "gpt", "new"]),
        (["name=bert-*"], ["bert-a", "bert-b"]),
        (["name=bert-*", "state=failed"], ["bert-b"]),
        (["name!=bert-*"], ["gpt", "new"]),
        (["step>1000"], ["gpt"]),
        (["step >= 1k"], ["bert-b", "gpt"]),
        (["loss<3"], ["bert-a"]),
        (["loss>=2.0"], ["bert-a", "gpt"]),
        (["age>30d"], ["bert-a"]),
        (["age<=3h"], ["gpt", "new"]),
        (["size>1GB"], ["bert-a"]),
        (["size<=1kB"], ["bert-b", "gpt", "new"]),
    ],
    ids=str,
)
def test_filters_must_all_hold(expressions: list[str], names: list[str]) -> None:
    assert [found.name for found in selected(RUNS, expressions)] == names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("finished", "write for example state=finished"),
        ("stat=finished", "'stat' is neither an argument nor a metric of these runs: did you mean state?"),
        ("state=finishd", "no state 'finishd': it is one of created"),
        ("state>finished", "write for example"),
        ("step>many", "'many' is not a number with a unit of k, M"),
        ("step>1.2.3", "is not a number"),
        ("age>3", "'3' is not a number with a unit of s, min, h, d, w"),
        ("size>1XB", "is not a number with a unit of B, kB"),
        ("loss<2k", "'2k' is not a number; write"),
        ("", "write for example"),
    ],
)
def test_a_filter_that_cannot_be_read_is_told(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_filter(text)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("age", ["new", "gpt", "bert-b", "bert-a"]),
        ("name", ["bert-a", "bert-b", "gpt", "new"]),
        ("state", ["new", "bert-b", "bert-a", "gpt"]),
        ("step", ["gpt", "bert-b", "bert-a", "new"]),
        ("loss", ["bert-a", "gpt", "bert-b", "new"]),
        ("size", ["bert-a", "bert-b", "gpt", "new"]),
    ],
)
def test_the_most_telling_comes_first_and_what_has_no_value_last(key: str, names: list[str]) -> None:
    assert [found.name for found in in_order(RUNS, quantity(key, "--sort", RUNS))] == names


def test_reversed_the_worst_loss_comes_first_and_what_has_none_still_last() -> None:
    found = in_order(RUNS, quantity("loss", "--sort", RUNS), reverse=True)
    assert [run.name for run in found] == ["gpt", "bert-a", "bert-b", "new"]


def test_a_list_reads_the_status_of_a_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, names = RunFolder.read_status, list[str]()

    def counting(folder: RunFolder) -> Status | None:
        names.append(folder.name)
        return read(folder)

    for name in ("first", "second"):
        write_run(tmp_path, name, losses={10: 3.0})
    monkeypatch.setattr(RunFolder, "read_status", counting)
    print_list(tmp_path, Listing(), as_json=False)
    assert names == ["first", "second"]
