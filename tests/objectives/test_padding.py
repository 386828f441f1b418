"""Rows of different lengths in one tensor, also where an objective makes them shorter than they were."""

import numpy as np

from dlib.args import ObjectiveArgs
from dlib.data.samples import Sample
from dlib.objectives.clm import CausalLanguageModeling
from dlib.objectives.padding import stack_rows
from tests.toys import PAD, toy_roles, toy_row


class FirstHalf(CausalLanguageModeling):
    """Sees the first half of a row alone."""

    def prepare(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Half of the row."""
        return super().prepare(Sample((sample.ids[: len(sample.ids) // 2],), key=sample.key))


def test_full_rows_have_no_mask() -> None:
    assert stack_rows([toy_row(5), toy_row(5)], PAD).keys() == {"input_ids"}


def test_rows_that_an_objective_shortens_are_masked_where_they_are_padded() -> None:
    objective = FirstHalf(ObjectiveArgs(objective="clm"), toy_roles())
    batch = objective.collate([Sample((toy_row(12),)), Sample((toy_row(6),))])
    assert batch["attention_mask"].sum(1).tolist() == [6, 3]
    assert (batch["input_ids"][batch["attention_mask"] == 0] == PAD).all()
    assert len(batch["targets"]) == 5 + 2


def test_rows_that_become_equally_long_have_no_mask() -> None:
    objective = FirstHalf(ObjectiveArgs(objective="clm"), toy_roles())
    assert "attention_mask" not in objective.collate([Sample((toy_row(12),)), Sample((toy_row(13),))])
