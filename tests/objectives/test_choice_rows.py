"""The lengths that rows of choices tell are those of the tensors they become; a label is the number of a choice."""

from typing import Any

import numpy as np
import pytest

from dlib.data.samples import Sample
from dlib.objectives.multiple_choice import padded_tokens, stack_choices, target
from dlib.process.errors import UserError
from tests.toys import PAD, toy_row


def test_choices_count_as_long_as_the_longest() -> None:
    parts = [toy_row(5), toy_row(4), toy_row(5), toy_row(11), toy_row(5), np.array([], np.int64)]
    batch = stack_choices([Sample(tuple(parts))] * 2, PAD)
    assert batch["input_ids"].numel() == 2 * padded_tokens(parts) == 2 * 3 * 16


@pytest.mark.parametrize("label", [2, -1, 0.5, True, "0"])
def test_a_label_that_is_no_choice_is_refused(label: Any) -> None:
    assert [target(number, 2) for number in (0, 1.0)] == [0, 1]
    with pytest.raises(UserError, match=f'^key "label": {label} is no number of its 2 choices; the first is 0$'):
        target(label, 2)
