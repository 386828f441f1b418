"""What the model is trained to do: the objective's name, and the arguments of every objective of the table."""

from dataclasses import dataclass

from dlib.args.fields import setting
from dlib.args.tables import OBJECTIVES, arguments_of


@dataclass
class ObjectiveChoice:
    """The objective's name."""

    objective: str = setting("mlm", choices=tuple(OBJECTIVES))
    """`mlm`: fill in masked tokens (BERT, RoBERTa); `clm`: predict the next token (GPT, Llama)."""


@dataclass
class ObjectiveArgs(*arguments_of(OBJECTIVES), ObjectiveChoice):  # type: ignore[misc] # bases from a table
    """The objective and its own arguments."""
