"""A run that was probably not meant so is doubted in a line, and no other is."""

from dataclasses import replace

import pytest

from dlib.args import ExperimentArgs, HardwareArgs, OptimArgs
from dlib.data.mixture import MixedRows
from dlib.training.doubts import doubts, multiplies_in_bfloat16
from dlib.training.plan import make_plan
from tests.toys import ListRows, toy_row

ROWS = ListRows([toy_row(20, seed) for seed in range(100)])
FEW_ROWS = ListRows([toy_row(20, seed) for seed in range(5)])


def doubted(
    goal: str, rows: ListRows | MixedRows = ROWS, early_stopping: str | None = None, **optim: object
) -> list[str]:
    args = ExperimentArgs(optim=OptimArgs(**optim))  # type: ignore[arg-type]
    durations = replace(args.durations, training_goal=goal, early_stopping=early_stopping)
    args = replace(args, durations=durations, batch=replace(args.batch, micro_batch_size=1))
    return doubts(args, make_plan(args, rows), rows, "cpu")


def doubted_of(precision: str, accelerator: str) -> list[str]:
    args = ExperimentArgs()
    args = replace(args, batch=replace(args.batch, micro_batch_size=1), hardware=HardwareArgs(precision=precision))
    return doubts(args, make_plan(args, ROWS), ROWS, accelerator)


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_weights_of_few_bits_are_told(accelerator: str) -> None:
    (line,) = doubted_of("bf16-true", accelerator)
    assert line.startswith("warning: --precision bf16-true: weights have 8 bits, and the small steps")
    kept = {"cpu": "32-true keeps them, and is faster on a CPU", "cuda": "bf16-mixed keeps them"}
    assert line.endswith(f"are lost; {kept[accelerator]}")


@pytest.mark.parametrize("has_it", [True, False])
def test_arithmetic_that_a_cpu_lacks_is_told(has_it: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlib.training.doubts.multiplies_in_bfloat16", lambda: has_it)
    told = "warning: --precision bf16-mixed: torch cannot multiply in bfloat16 on this machine's CPU; 32-true is many "
    assert doubted_of("bf16-mixed", "cpu") == [f"{told}times as fast there"] * (not has_it)
    assert doubted_of("bf16-mixed", "cuda") == doubted_of("32-true", "cpu") == []


@pytest.mark.oldest
def test_any_torch_is_asked_whether_it_multiplies_in_bfloat16() -> None:
    assert multiplies_in_bfloat16() in (True, False)
    assert len(doubted_of("bf16-mixed", "cpu")) == (not multiplies_in_bfloat16())


def test_a_text_that_is_read_very_often_is_told() -> None:
    assert doubted("100 epochs") == doubted("200 epochs", early_stopping="10 evaluations") == []
    told = "warning: --training_goal 200 epochs: the text is read 200 times; a goal may be in epochs: '10 epochs'"
    assert doubted("200 epochs") == [told]


def test_of_several_texts_the_one_that_is_read_most_often_is_told() -> None:
    rows = MixedRows(("large", "small"), (ROWS, FEW_ROWS), (1, 1))
    assert doubted("1000 samples", rows) == []
    assert [line.partition(": ")[2] for line in doubted("2000 samples", rows)] == [
        "--training_goal 2000 samples: small is read 200 times; a goal may be in epochs: '10 epochs'"
    ]


@pytest.mark.parametrize(
    ("optimizer", "is_told"), [("adamw", True), ("adafactor", True), ("muon", True), ("sgd", False)]
)
def test_a_large_learning_rate_is_told_where_steps_are_as_large(optimizer: str, is_told: bool) -> None:
    assert doubted("1 epoch", optimizer=optimizer, learning_rate=0.1) == []
    lines = doubted("1 epoch", optimizer=optimizer, learning_rate=1.0)
    told = f"warning: --learning_rate 1: {optimizer} may move each weight by as much in a step; 0.001 is usual"
    assert lines == [told] * is_told
