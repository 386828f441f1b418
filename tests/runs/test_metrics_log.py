"""metrics.jsonl: one record a step, cut back on resume, readable after a kill."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlib.process.errors import UserError
from dlib.runs.metrics_log import BestMetric, MetricsLog, best, newest_record, read_metrics, record_of_step
from tests.full_disks import file_limit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def write_steps(path: Path, *steps: int) -> MetricsLog:
    log = MetricsLog(path)
    for step in steps:
        log.add(step, {"train/loss": 1 / step})
    log.flush()
    return log


def test_values_of_one_step_become_one_line_with_the_step_first(path: Path) -> None:
    log = MetricsLog(path)
    log.add(1, {"train/loss": 2.5, "samples": 8})
    log.add(1, {"dev/loss": 2.25})
    log.flush()
    assert path.read_text() == '{"step": 1, "train/loss": 2.5, "samples": 8, "dev/loss": 2.25}\n'


def test_a_new_step_writes_the_pending_one(path: Path) -> None:
    log = MetricsLog(path)
    log.add(1, {"train/loss": 2.5})
    assert not path.exists()
    log.add(2, {"train/loss": 2.0})
    assert read_metrics(path) == [{"step": 1, "train/loss": 2.5}]


def test_flushing_nothing_writes_nothing(path: Path) -> None:
    MetricsLog(path).flush()
    assert not path.exists()


@pytest.mark.parametrize("step", [1, 2])
def test_a_step_that_is_already_written_is_refused(path: Path, step: int) -> None:
    write_steps(path, 1, 2)
    with pytest.raises(ValueError, match="step"):
        MetricsLog(path).add(step, {"train/loss": 0.0})


def test_a_step_before_the_pending_one_is_refused(path: Path) -> None:
    log = MetricsLog(path)
    log.add(5, {"train/loss": 0.0})
    with pytest.raises(ValueError, match="step 4"):
        log.add(4, {"train/loss": 0.0})


def test_rewinding_keeps_the_bytes_of_earlier_steps_and_drops_the_rest(path: Path) -> None:
    log = write_steps(path, 1, 2, 3, 4)
    before = path.read_bytes().splitlines(keepends=True)
    log.add(5, {"train/loss": 0.5})
    log.rewind(2)
    assert path.read_bytes() == b"".join(before[:2])
    log.add(3, {"train/loss": 1 / 3})
    log.add(4, {"train/loss": 1 / 4})
    log.flush()
    assert path.read_bytes() == b"".join(before)


def test_rewinding_a_missing_file_is_fine(path: Path) -> None:
    MetricsLog(path).rewind(5)
    assert not path.exists()


def test_a_torn_last_line_is_not_read_and_is_cut_off_before_appending(path: Path) -> None:
    write_steps(path, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 3, "train/lo')
    assert [record["step"] for record in read_metrics(path)] == [1, 2]
    write_steps(path, 3)
    assert [record["step"] for record in read_metrics(path)] == [1, 2, 3]


@pytest.mark.parametrize("tail", [b"\0\0\0\0", b"\0\0\n", b'{"st\n', b"\xff\xfe", b"{}\n", b"7\n"])
def test_a_damaged_last_line_is_dropped_by_rewind(path: Path, tail: bytes) -> None:
    write_steps(path, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    MetricsLog(path).rewind(2)
    assert path.read_bytes() == whole


def test_a_line_that_the_disk_takes_in_part_is_cut_off_and_written_whole_when_there_is_room(path: Path) -> None:
    log = MetricsLog(path)
    log.add(1, {"train/loss": 5.0})
    log.flush()
    first = path.read_bytes()
    log.add(2, {"train/loss": 4.0, "note": "x" * 100})
    with (
        file_limit(len(first) + 50),
        pytest.raises(UserError, match=r"metrics\.jsonl cannot be written: File too large"),
    ):
        log.flush()
    assert path.read_bytes() == first
    log.flush()
    assert [record["step"] for record in read_metrics(path)] == [1, 2]


@pytest.mark.parametrize("loss", [Path.unlink, lambda path: path.rename(path.with_name("moved")) and path.touch()])
def test_a_file_that_is_removed_or_replaced_is_noticed_at_the_next_write(
    path: Path, loss: Callable[[Path], None]
) -> None:
    log = MetricsLog(path)
    log.add(1, {"train/loss": 5.0})
    log.flush()
    loss(path)
    with pytest.raises(UserError, match=r"metrics\.jsonl was removed or replaced .* goes on from the last checkpoint"):
        log.flush()
    assert not path.exists() or path.read_bytes() == b""


def test_damage_in_the_middle_names_the_line(path: Path) -> None:
    path.write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2"):
        read_metrics(path)


def test_numbers_that_are_not_finite_are_strings_for_strict_readers_and_come_back(path: Path) -> None:
    log = MetricsLog(path)
    log.add(1, {"nan": math.nan, "up": math.inf, "down": np.float32(-np.inf)})
    log.flush()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    strict = json.loads(path.read_text(), parse_constant=refuse)
    assert strict == {"step": 1, "nan": "NaN", "up": "Infinity", "down": "-Infinity"}
    (record,) = read_metrics(path)
    assert math.isnan(record["nan"])
    assert (record["up"], record["down"]) == (math.inf, -math.inf)


@given(value=st.floats(allow_nan=False))
def test_every_number_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    log = MetricsLog(path)
    log.add(1, {"value": np.float64(value)})
    log.flush()
    assert math.copysign(1.0, read_metrics(path)[0]["value"]) == math.copysign(1.0, value)
    assert read_metrics(path)[0]["value"] == value


def test_text_with_line_separators_stays_in_its_record(path: Path) -> None:
    log = MetricsLog(path)
    log.add(1, {"sample": "a\u2028b\nc\x85d"})
    log.add(2, {"sample": "e"})
    log.flush()
    assert [record["sample"] for record in read_metrics(path)] == ["a\u2028b\nc\x85d", "e"]


def test_the_best_is_the_earliest_minimum_and_never_nan(path: Path) -> None:
    log = MetricsLog(path)
    for step, value in enumerate([math.nan, 3.0, 2.0, 2.0, math.inf], start=1):
        log.add(step, {"dev/loss": value})
    log.add(6, {"train/loss": 0.0})
    log.flush()
    assert best(path, BestMetric("dev/loss"), among=range(10)) == {"step": 3, "dev/loss": 2.0}
    assert best(path, BestMetric("dev/loss"), among={1}) is None
    assert best(path, BestMetric("dev/accuracy"), among=range(10)) is None
    assert best(path.with_name("absent"), BestMetric("dev/loss"), among=range(10)) is None


def test_of_equal_numbers_that_of_the_lower_loss_is_the_best(path: Path) -> None:
    log = MetricsLog(path)
    for step, (accuracy, loss) in enumerate([(0.5, 0.1), (1.0, math.nan), (1.0, 0.4), (1.0, 0.2), (1.0, 0.2)], start=1):
        log.add(step, {"dev/accuracy": accuracy, "dev/loss": loss})
    log.flush()
    found = best(path, BestMetric("dev/accuracy", highest=True), among=range(10))
    assert found is not None
    assert found["step"] == 4


def test_the_record_of_any_step_of_a_long_file_is_found_without_reading_it_whole(path: Path) -> None:
    steps = range(3, 30_000, 3)
    records = [{"step": step, "dev/loss": 1 / step, "note": "x" * (step % 90)} for step in steps]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert path.stat().st_size > 10 * 2**16
    for place in (*range(3), *range(4000, 4100), -2, -1):
        assert record_of_step(path, steps[place]) == records[place]
    for step in (0, 1, 4, 15_001, 30_000, 10**9):
        assert record_of_step(path, step) is None


@given(steps=st.lists(st.integers(0, 500), unique=True, max_size=40), wanted=st.integers(0, 500))
def test_a_record_is_found_where_it_is_and_only_there(
    steps: list[int], wanted: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("numbers") / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {step}, "loss": 1.0}}\n' for step in sorted(steps)))
    found = record_of_step(path, wanted)
    assert (found is not None) == (wanted in steps)
    newest = newest_record(path)
    assert (newest["step"] if newest else None) == max(steps, default=None)


def test_a_step_that_a_longer_one_begins_with_or_another_record_names_is_not_taken_for_it(path: Path) -> None:
    path.write_text('{"step": 1000, "text": "{\\"step\\": 10, "}\n{"step": 2000}\n')
    assert record_of_step(path, 10) is None
    assert record_of_step(path, 100) is None


def test_a_line_longer_than_what_is_read_at_once_hides_no_record(path: Path) -> None:
    records = [{"step": 1, "a": "x" * 10**6}, {"step": 2}, {"step": 3, "a": "y" * 10**6}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert [record_of_step(path, step) for step in (1, 2, 3)] == records


def test_the_newest_whole_record_stands_before_a_torn_line(path: Path) -> None:
    path.write_text('{"step": 1}\n{"step": 2, "loss": 1}\nnoise\n{"step": 3, "lo')
    assert newest_record(path) == {"step": 2, "loss": 1}
    assert newest_record(path.with_name("missing.jsonl")) is None
    assert record_of_step(path.with_name("missing.jsonl"), 1) is None
