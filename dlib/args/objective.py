"""What the model is trained to do: the objective's name, and the arguments of every objective of the table."""

from dataclasses import dataclass

from dlib.args.fields import setting
from dlib.args.tables import OBJECTIVES, arguments_of, first_lines


@dataclass
class ObjectiveChoice:
    """The objective's name."""

    objective: str = setting("mlm", choices=first_lines(OBJECTIVES))
    """What the model learns."""


@dataclass
class ObjectiveArgs(*arguments_of(OBJECTIVES), ObjectiveChoice):  # type: ignore[misc] # bases from a table
    """The objective and its own arguments."""
