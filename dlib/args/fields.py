"""How a field of an argument group is declared: it says all of itself where it stands.

    label_smoothing: float = setting(0.0, at_least=0, less_than=1)
    "Share of each target that is spread over the vocabulary."

The text under a field is its help. Its type is `int`, `float`, `bool`, `str`, a `Literal`; `list[T]` or `dict[str, T]`
of `int`, `float` or `str`; any of these `| None`; or another dataclass, whose fields have flags `--group.field`.
"""

import copy
import operator
from dataclasses import Field, dataclass, field
from functools import partial
from typing import Any, Literal

COMPARISONS = {"at_least": operator.ge, "more_than": operator.gt, "at_most": operator.le, "less_than": operator.lt}


@dataclass(frozen=True)
class Facts:
    """What a field says of itself besides its type, default and text: the keywords of `setting`.

    Attributes:
        alias: a short flag (`"-n"`).
        choices: the only values taken; in a list or dict, the only elements.
        at_least: the range of a number, or of each number of a list or dict; 0 at a duration: it may be nothing at all.
        more_than: the same.
        at_most: the same.
        less_than: the same.
        or_all: -1 is taken besides, and means all.
        duration: the text is a length of training ("2B tokens"), perhaps a share of the training goal ("5%"), a time
            on the clock, or a number of evaluations.
        path: the text is, or may be, a path.
        free: it does not enter the function that a run computes (where it runs, what it prints, how often it saves):
            it may change when a run is resumed, every other field may not.
        changes_evaluation: the numbers of an evaluation depend on it. Those of the section `objective` always count.
        keeps_commas: on the command line the elements of the list are separated by spaces only.
    """

    alias: str | None = None
    choices: tuple[Any, ...] = ()
    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None
    or_all: bool = False
    duration: Literal["length", "share", "clock", "evaluations"] | None = None
    path: bool = False
    free: bool = False
    changes_evaluation: bool = False
    keeps_commas: bool = False

    def accept(self, number: float) -> bool:
        """Whether a number is in the range."""
        bounds = ((compare, getattr(self, name)) for name, compare in COMPARISONS.items())
        inside = all(bound is None or compare(number, bound) for compare, bound in bounds)
        return inside or (self.or_all and number == -1)

    @property
    def range(self) -> str:
        """The range in words: "more than 0 and at most 1"; empty where there is none."""
        bounds = [(name.replace("_", " "), getattr(self, name)) for name in COMPARISONS]
        words = " and ".join(f"{words} {bound}" for words, bound in bounds if bound is not None)
        return words + ", or -1 for all" * self.or_all


def setting(default: Any, **facts: Any) -> Any:
    """Declare one field.

    Args:
        default: its value where nothing is said. A list, dict or dataclass is copied for each configuration.
        facts: what else is to be known of it, see `Facts`.
    """
    metadata = {"facts": Facts(**facts)}
    if type(default).__hash__ is None:
        return field(default_factory=partial(copy.deepcopy, default), metadata=metadata)
    return field(default=default, metadata=metadata)


def facts_of(declared: Field[Any]) -> Facts:
    """What a field says of itself; nothing where it was declared without `setting`."""
    facts: Facts = declared.metadata.get("facts", Facts())
    return facts
