"""The table of all fields that can be set, by their full key, and the words that errors use for them."""

import ast
import difflib
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import Field, fields, is_dataclass
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from dlib.args import ExperimentArgs
from dlib.args.fields import facts_of
from dlib.config.familiar_names import Ours
from dlib.config.spelling import VERY_NEAR, familiar
from dlib.process.errors import UserError


class Kind(NamedTuple):
    """What a value of a type is, in words, and what stands for it in `--help`."""

    words: str
    metavar: str


KINDS: dict[Any, Kind] = {
    int: Kind("a whole number", "N"),
    float: Kind("a number", "X"),
    bool: Kind("true or false", "true|false"),
    str: Kind("a text", "TEXT"),
    list[int]: Kind("a list of whole numbers", "N"),
    list[float]: Kind("a list of numbers", "X"),
    list[str]: Kind("a list of texts", "TEXT"),
    dict[str, int]: Kind("a mapping of names to whole numbers", "NAME=N"),
    dict[str, float]: Kind("a mapping of names to numbers", "NAME=X"),
    dict[str, str]: Kind("a mapping of names to texts", "NAME=TEXT"),
}
TYPES = (
    "int, float, bool, str, Literal, list[T], dict[str, T] (T: int, float, str), any of these | None, or a dataclass"
)
OTHER_FLAGS = ("--config_path", "--plan", "--fast_dev_run", "--help")


def walk(key: str, group: type) -> Iterator[tuple[str, type]]:
    """A group of arguments and those nested in it, by the full key of each."""
    types_of = typing.get_type_hints(group)  # of annotations that are texts, too
    yield key, group
    for field in fields(group):
        field.type = types_of[field.name]
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from walk(f"{key}.{field.name}".lstrip("."), field.type)


GROUPS: dict[str, type] = {key: group for key, group in walk("", ExperimentArgs) if key}
SECTIONS: dict[str, type] = {key: group for key, group in GROUPS.items() if "." not in key}
FIELDS: dict[str, Field[Any]] = {
    f"{key}.{field.name}": field
    for key, group in GROUPS.items()
    for field in fields(group)
    if field.type not in GROUPS.values()
}


def flag_of(key: str) -> str:
    """The flag of a full key: `--learning_rate` for `optim.learning_rate`, `--a.b` for `optim.a.b`."""
    return f"--{key.partition('.')[2] or key}"


FLAGS: dict[str, str] = {flag_of(key): key for key in FIELDS}


def value_of(args: ExperimentArgs, key: str) -> Any:
    """The value of a full key, for example `optim.learning_rate`."""
    return attrgetter(key)(args)


def declarations_of(group: type) -> Iterator[tuple[Field[Any], type]]:
    """The fields of a group, each with every class that declares it."""
    own = {field.name: field for field in fields(group)}
    return ((own[name], owner) for owner in group.__mro__ for name in inspect.get_annotations(owner) if name in own)


def refuse_wrong_fields(groups: Iterable[tuple[str, type]]) -> None:
    """Refuse a type that no value can be read for, and a flag that two classes declare: one would hide the other."""
    places = dict.fromkeys(OTHER_FLAGS, "train.py itself")
    for key, group in groups:
        for field, owner in declarations_of(group):
            place = f"{owner.__module__.replace('.', '/')}.py: {owner.__name__}.{field.name}"
            if not is_dataclass(field.type) and bare_type(field) not in KINDS:
                raise UserError(f"{place}: a field cannot be of the type {field.type}: take {TYPES}")
            for flag in filter(None, (flag_of(f"{key}.{field.name}"), facts_of(field).alias)):
                if flag in places:
                    raise UserError(f"{place} and {places[flag]} both make the flag {flag}: rename one of them")
                places[flag] = place


@functools.cache
def texts_of(group: type) -> dict[str, str]:
    """The text under each field of a group, read from its source: at run time Python does not keep it."""
    texts: dict[str, str] = {}
    for owner in group.__mro__[:-1]:
        definition = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(definition, ast.ClassDef)
        texts |= {
            ast.unparse(statement.target): " ".join(str(ast.literal_eval(text.value)).split())
            for statement, text in itertools.pairwise(definition.body)
            if isinstance(statement, ast.AnnAssign) and isinstance(text, ast.Expr)
        }
    return texts


def text_of(key: str) -> str:
    """The text under the field of a full key; empty where there is none."""
    group, _, name = key.rpartition(".")
    return texts_of(GROUPS[group]).get(name, "")


def is_optional(field: Field[Any]) -> bool:
    """Whether the field may be None."""
    return type(None) in typing.get_args(field.type)


def type_if_any(field: Field[Any]) -> Any:
    """The field's type without the `None` of an optional one."""
    if typing.get_origin(field.type) not in (types.UnionType, typing.Union):
        return field.type
    kinds = [kind for kind in typing.get_args(field.type) if kind is not type(None)]
    return kinds[0] if len(kinds) == 1 else field.type


def bare_type(field: Field[Any]) -> Any:
    """What a value of the field is if it is not None: a type of `KINDS`; that of its values for a `Literal`."""
    kind = type_if_any(field)
    if typing.get_origin(kind) is not Literal:
        return kind
    kinds = {type(value) for value in typing.get_args(kind)}
    return kinds.pop() if len(kinds) == 1 else kind


def has_many(field: Field[Any]) -> bool:
    """Whether the field holds a list or names with values."""
    return typing.get_origin(bare_type(field)) in (list, dict)


def kind_of(field: Field[Any]) -> str:
    """What a value of the field has to be, in words: "a whole number or none"."""
    return KINDS[bare_type(field)].words + (f" or {facts_of(field).none}" if is_optional(field) else "")


def choices_of(field: Field[Any]) -> tuple[Any, ...]:
    """The only values that the field takes; empty where it takes any of its type."""
    kind = type_if_any(field)
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else tuple(facts_of(field).choices)


refuse_wrong_fields(GROUPS.items())


def nearest_key(key: str, siblings: Iterable[str]) -> str:
    """The end of the message for an unknown key: what may have been meant.

    That is the same word in another section; else our word for another program's; else a near word here or elsewhere.
    """
    siblings = list(siblings)
    by_last_word = {known.rpartition(".")[2]: known for known in (*GROUPS, *FIELDS, *siblings)}
    word = key.rpartition(".")[2]
    if word in by_last_word:
        return f": did you mean {by_last_word[word]}?"
    ours = familiar(word, FLAGS)
    if ours is not None:
        return f": {as_key(ours)}"
    here = [known.rpartition(".")[2] for known in siblings]
    near = [
        *difflib.get_close_matches(word, here, 1, VERY_NEAR),
        *difflib.get_close_matches(word, by_last_word, 1, VERY_NEAR),
    ]
    return f": did you mean {by_last_word[near[0]]}?" if near else ""


def as_key(ours: Ours) -> str:
    """What to write in a file."""
    if not ours.flag:
        return ours.note
    key = FLAGS[ours.flag]
    value = ours.example or ("true" if bare_type(FIELDS[key]) is bool else "")
    return f"write {key}" + (f": {value}" if value else "") + (f" ({ours.note})" if ours.note else "")
