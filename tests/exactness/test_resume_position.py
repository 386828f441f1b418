"""Going on at step 10^9 reads, computes and holds what going on at step 0 does: nothing is replayed, nothing tabled."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from dlib.args import ObjectiveArgs
from dlib.data import mixture
from dlib.data.batching import BatchPlan
from dlib.data.data_module import DataModule
from dlib.data.permutation import permute
from dlib.data.samples import Sample, SampleKey
from dlib.data.text_data import TextData
from dlib.objectives import build_objective
from tests.toys import toy_roles, toy_row

BATCH_SIZE = 8
FAR = 10**9
NUM_ROWS = {"one epoch": 2**40, "many epochs": 3_000_017}


@dataclass
class EndlessRows:
    """Claims any number of rows, and notes which are read."""

    num_rows: int
    read: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.num_rows

    @property
    def num_tokens(self) -> int:
        return 16 * self.num_rows

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """A row (16,) that its number alone decides."""
        self.read.append(index)
        assert len(self.read) <= 100 * BATCH_SIZE, "the data is replayed"
        return Sample((toy_row(16, index),), number=index, key=key)


def first_batch(rows: EndlessRows, step: int) -> dict[str, Any]:
    """The first batch of a session that goes on after `step`, as `train.py` would get it."""
    plan = BatchPlan(len(rows), BATCH_SIZE, 2, (FAR + 10) * BATCH_SIZE, seed=1)
    collator = build_objective(ObjectiveArgs(), toy_roles())
    data = TextData(cast(Any, None), cast(Any, None), rows, rows)
    module = DataModule(data, plan, collator, first_step=step, eval_batch_size=1, num_workers=0)
    module.trainer = cast(Any, SimpleNamespace(global_rank=0, world_size=1))
    return next(iter(module.train_dataloader()))


def peak_bytes(action: Callable[[], object]) -> int:
    """The most memory that Python and numpy held at once for it."""
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.fixture
def asked_positions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """All positions that the permutation is asked for."""
    asked: list[int] = []

    def noting(positions: np.ndarray, size: int, key: int) -> np.ndarray:
        asked.extend(positions.tolist())
        return permute(positions, size, key)

    monkeypatch.setattr(mixture, "permute", noting)
    return asked


@pytest.mark.parametrize("num_rows", NUM_ROWS.values(), ids=NUM_ROWS)
@pytest.mark.parametrize("step", [0, FAR])
def test_first_batch_reads_its_own_rows_and_no_others(step: int, num_rows: int, asked_positions: list[int]) -> None:
    rows = EndlessRows(num_rows)
    item = first_batch(rows, step)
    assert item["step"] == step
    assert item["num_samples"] == BATCH_SIZE
    assert len(rows.read) == BATCH_SIZE
    own = [(step * BATCH_SIZE + place) % num_rows for place in range(BATCH_SIZE)]
    assert sorted(set(asked_positions)) == sorted(own)
    assert len(asked_positions) <= 2 * BATCH_SIZE, "once for the step, once for the micro-batches of this process"


@pytest.mark.parametrize("num_rows", NUM_ROWS.values(), ids=NUM_ROWS)
def test_first_batch_takes_as_much_memory_at_a_billion_as_at_the_beginning(num_rows: int) -> None:
    def peak(step: int) -> int:
        return peak_bytes(lambda: first_batch(EndlessRows(num_rows), step))

    peak(0)  # what is imported and cached once is not counted
    near, far = peak(0), peak(FAR)
    assert far == pytest.approx(near, rel=0.05)
    assert far < 1_000_000
