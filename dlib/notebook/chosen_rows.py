"""Some rows of a text, each with what is drawn for it in an evaluation of them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlib.data.packing import Rows
    from dlib.data.samples import Sample, SampleKey


@dataclass(frozen=True)
class ChosenRows:
    """Rows by their numbers, in the order of the numbers given."""

    rows: "Rows"
    numbers: Sequence[int]

    def __len__(self) -> int:
        """How many they are."""
        return len(self.numbers)

    def sample(self, index: int, key: "SampleKey" = ()) -> "Sample":
        """The row at a place of the choice. Its key names it by its number in the text: the same tokens are masked."""
        number = self.numbers[index]
        return self.rows.sample(number, (*key[:-1], number) if key else ())
