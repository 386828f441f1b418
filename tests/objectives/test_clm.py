"""Next-token targets."""

import numpy as np
import pytest
import torch

from dlib.args import ObjectiveArgs
from dlib.args.tables import OBJECTIVES, load
from dlib.data.samples import Sample
from dlib.objectives import build_objective
from dlib.objectives.clm import CausalLanguageModeling
from dlib.objectives.objective import Evaluated
from tests.toys import LEAD, PAD, toy_roles, toy_row

CLM = CausalLanguageModeling(ObjectiveArgs(objective="clm"), toy_roles(mask_id=None))


@pytest.mark.parametrize("length", [1, 2, 7, 8, 31])
def test_each_token_but_the_first_is_predicted_from_the_position_before(length: int) -> None:
    row = toy_row(length)
    seen, positions, targets = CLM.prepare(Sample((row,)))
    assert np.array_equal(seen, row)
    assert positions.tolist() == list(range(length - 1))
    assert np.array_equal(targets, row[1:])
    assert CLM.count_targets(row) == len(targets) == length - 1


def test_row_of_one_token_stands_in_a_batch_without_targets() -> None:
    batch = CLM.collate([Sample((np.array([LEAD]),)), Sample((toy_row(4),))])
    assert batch["input_ids"][0].tolist() == [LEAD] + [PAD] * 7
    assert batch["target_positions"].tolist() == [8, 9, 10]
    assert len(CLM.collate([Sample((np.array([LEAD]),))])["targets"]) == 0


def test_padding_is_never_a_target() -> None:
    batch = CLM.collate([Sample((toy_row(3),)), Sample((toy_row(9),))])
    assert batch["attention_mask"].flatten()[batch["target_positions"]].all()
    assert PAD not in batch["targets"]


def test_share_of_whole_documents_that_are_predicted_from_end_to_end() -> None:
    rows = [toy_row(5), toy_row(9, seed=1), toy_row(9, seed=2), toy_row(3)]
    samples = [Sample((row,), is_whole=index != 2) for index, row in enumerate(rows)]
    batch = CLM.collate(samples)
    targets = batch["targets"]
    predicted = targets.clone()
    predicted[len(rows[0]) - 1 + 3] += 1  # a token of the second row
    sums = CLM.sums(torch.zeros(len(targets)), predicted, batch)
    assert (sums["sequences"], sums["right_sequences"], sums["correct"]) == (3, 2, len(targets) - 1)
    assert CLM.metrics(Evaluated(sums), 1)["sequence_accuracy"] == 2 / 3


def test_packed_rows_are_no_sequences_of_their_own() -> None:
    batch = CLM.collate([Sample((toy_row(5),)), Sample((toy_row(5, seed=1),))])
    assert {*batch} == {"input_ids", "target_positions", "targets"}
    sums = CLM.sums(torch.zeros(8), torch.zeros(8), batch)
    assert {*CLM.metrics(Evaluated(sums), 1)} == {"loss", "perplexity", "bits_per_byte", "accuracy"}


def test_table_builds_the_objective_that_is_named() -> None:
    for name, entry in OBJECTIVES.items():
        assert type(build_objective(ObjectiveArgs(objective=name), toy_roles())) is load(entry.implementation)
