"""A mistake of the user is one line that says what is wrong, exit status 2, and no run folder: the table.

A row a case, by subject in `rows/`: what is typed, what the line says, and the files that it needs.
"""

from pathlib import Path

import pytest

from tests.bad_input.calling import Row, check_refusal
from tests.bad_input.rows import data, flags, launchers, models, runs, spellings, sweeps, values, wandb, yaml

ROWS = [
    *flags.ROWS,
    *spellings.ROWS,
    *values.ROWS,
    *wandb.ROWS,
    *yaml.ROWS,
    *data.ROWS,
    *models.ROWS,
    *runs.ROWS,
    *launchers.ROWS,
    *sweeps.ROWS,
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_mistake_is_one_line_and_leaves_nothing(
    row: Row, typing_place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_refusal(row, typing_place, capfd)
