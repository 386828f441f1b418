"""The lengths that rows of choices tell are those of the tensors they become."""

import numpy as np

from dlib.data.samples import Sample
from dlib.objectives.multiple_choice import padded_tokens, stack_choices
from tests.toys import PAD, toy_row


def test_choices_count_as_long_as_the_longest() -> None:
    parts = [toy_row(5), toy_row(4), toy_row(5), toy_row(11), toy_row(5), np.array([], np.int64)]
    batch = stack_choices([Sample(tuple(parts))] * 2, PAD)
    assert batch["input_ids"].numel() == 2 * padded_tokens(parts) == 2 * 3 * 16
