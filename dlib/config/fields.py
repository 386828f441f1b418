"""The table of all fields that can be set, by their full key, and the words that errors use for them."""

import ast
import difflib
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterable
from dataclasses import Field, fields
from typing import Any

from dlib.args import ExperimentArgs
from dlib.config.familiar_names import Ours
from dlib.config.spelling import VERY_NEAR, familiar
from dlib.process.errors import UserError

SECTIONS: dict[str, type] = {section.name: section.type for section in fields(ExperimentArgs)}  # type: ignore[misc]
FIELDS: dict[str, Field[Any]] = {
    f"{name}.{field.name}": field for name, section in SECTIONS.items() for field in fields(section)
}
FLAGS: dict[str, str] = {f"--{field.name}": key for key, field in FIELDS.items()}

KINDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list[int]: "a list of whole numbers",
    list[str]: "a list of texts",
}


def flag_of(key: str) -> str:
    """The flag of a full key: `--learning_rate` of `optim.learning_rate`."""
    return f"--{key.rpartition('.')[2]}"


def refuse_shared_names(sections: Iterable[type]) -> None:
    """Refuse a name that two groups, or two entries of a table, give to a field: one would hide the other.

    Raises:
        UserError: there is one; the message names both places.
    """
    owners: dict[str, str] = {}
    for owner in (owner for section in sections for owner in section.__mro__):
        for name in inspect.get_annotations(owner):
            place = f"{owner.__module__.replace('.', '/')}.py: {owner.__name__}.{name}"
            if name in owners:
                raise UserError(f"{place} and {owners[name]} have the same name: rename one of them")
            owners[name] = place


refuse_shared_names(SECTIONS.values())


@functools.cache
def texts_of(section: str) -> dict[str, str]:
    """The text under each field of a section, read from its source: at run time Python does not keep it."""
    texts: dict[str, str] = {}
    for owner in SECTIONS[section].__mro__[:-1]:
        definition = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(definition, ast.ClassDef)
        texts |= {
            ast.unparse(statement.target): " ".join(str(ast.literal_eval(text.value)).split())
            for statement, text in itertools.pairwise(definition.body)
            if isinstance(statement, ast.AnnAssign) and isinstance(text, ast.Expr)
        }
    return texts


def is_optional(field: Field[Any]) -> bool:
    """Whether the field may be None."""
    return type(None) in typing.get_args(field.type)


def bare_type(field: Field[Any]) -> Any:
    """The field's type without the `None` of an optional one."""
    if not isinstance(field.type, types.UnionType):
        return field.type
    return next(kind for kind in typing.get_args(field.type) if kind is not type(None))


def is_list(field: Field[Any]) -> bool:
    """Whether the field holds a list."""
    return typing.get_origin(bare_type(field)) is list


def kind_of(field: Field[Any]) -> str:
    """What a value of the field has to be, in words: "a whole number or none"."""
    return KINDS[bare_type(field)] + (" or none" if is_optional(field) else "")


def choices_of(field: Field[Any]) -> tuple[str, ...]:
    """The only values that the field takes; empty where it takes any of its type."""
    return field.metadata.get("choices", ())


def nearest_key(key: str, siblings: Iterable[str]) -> str:
    """The end of the message for an unknown key.

    Its word in another section, else what another program's name for it is here, a near one here, or one elsewhere.
    """
    by_last_word = {known.rpartition(".")[2]: known for known in (*SECTIONS, *FIELDS)}
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
