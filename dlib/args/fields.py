"""How a field of an argument group is declared: it says all of itself where it stands.

    label_smoothing_factor: float = setting(0.0, at_least=0, less_than=1)
    "Share of each target that is spread over the vocabulary."

The text under a field is its help. Its type is `int`, `float`, `bool`, `str`, a `Literal`; `list[T]` or `dict[str, T]`
of `int`, `float` or `str`; any of these `| None`; or another dataclass, whose fields have flags `--group.field`.
"""

import copy
import operator
from collections.abc import Mapping
from dataclasses import Field, dataclass, field
from functools import partial
from typing import Any, Literal

COMPARISONS = {"at_least": operator.ge, "more_than": operator.gt, "at_most": operator.le, "less_than": operator.lt}


@dataclass(frozen=True)
class Facts:
    """What a field says of itself besides its type, default and text: the keywords of `setting`."""

    alias: str | None = None  # a short flag (`"-n"`)
    choices: tuple[Any, ...] | Mapping[str, str] = ()  # the only values or elements; a mapping says what each means
    # these four: the range of a number, or of each of a list or dict; `at_least=0` at a duration: it may be nothing
    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None
    or_all: bool = False  # -1 is taken besides, and means all
    none: str = "none"  # what an optional value is written as where it is to be chosen
    # the text is a length of training ("2B tokens"), perhaps a share of the goal ("5%"), a clock time, or evaluations
    duration: Literal["length", "share", "clock", "evaluations"] | None = None
    path: bool = False  # the text is, or may be, a path
    # it may change when a run is resumed, as it does not enter what a run computes: where it runs, how often it saves
    free: bool = False
    # the numbers of an evaluation depend on it. Those of the section `objective` always count
    changes_evaluation: bool = False
    # the list's texts are files with a name, a weight and limits, which a YAML file may give as mappings
    corpora: bool = False
    # what eval.py takes in place of the run's own value, for an objective's own argument
    when_evaluated: Any = None
    keeps_commas: bool = False  # on the command line the elements of the list are separated by spaces only

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
    """Declare one field by its default, of which each configuration has a copy, and its `Facts`."""
    metadata = {"facts": Facts(**facts)}
    if type(default).__hash__ is None:
        return field(default_factory=partial(copy.deepcopy, default), metadata=metadata)
    return field(default=default, metadata=metadata)


def facts_of(declared: Field[Any]) -> Facts:
    """What a field says of itself; nothing where it was declared without `setting`."""
    facts: Facts = declared.metadata.get("facts", Facts())
    return facts
