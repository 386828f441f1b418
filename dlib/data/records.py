"""A document as every format hands it over, and how it is taken from a record: values by name.

It stands apart from the formats, so that what they read is judged in one way and told in the same words.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dlib.data.document_error import DocumentError
from dlib.data.samples import Columns

Value = int | float | bool | str
Text = str | tuple[str, ...]
SHOWN_KEYS = 10
LARGEST_INTEGER = 2**63 - 1
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Json(str):
    """A value written as JSON: a list, an object, or whatever a field has that may be missing."""


class Cell(str):
    """A value of a table, which does not say what is a number: it is one if it and the column's first read as one."""


class Document(NamedTuple):
    """What a format reads."""

    offset: int  # byte of the file at which it starts, for messages
    sequences: tuple[Text, ...]  # its texts, or lists of texts, in the order of `Columns.sequences`
    fields: tuple[Value, ...] = ()  # its values, in the order of `Columns.fields`
    is_whole: bool = True  # false where the next one goes on with it; only for documents of one text and no fields


def document_of(record: Mapping[str, Any], columns: Columns, offset: int, encoding_errors: str = "strict") -> Document:
    """Take from a record, values by name, what is asked for; `offset` is the byte of the file at which it starts.

    Raises:
        DocumentError: a key is missing, or its value is of a type that cannot be used.
    """
    keys = dict(zip(columns.names, columns.keys_of(columns.names), strict=True))
    there = {name: record.get(key) for name, key in keys.items()}
    for name, value in there.items():
        if value is None and name in columns.optional:
            continue
        if keys[name] not in record:
            found = ", ".join(map(quoted, [*record][:SHOWN_KEYS])) + ", ..." * (len(record) > SHOWN_KEYS)
            advice = f"; if one of them is meant, say which: --keys {name}=KEY" * bool(record)
            raise DocumentError(offset, f"no key {quoted(keys[name])}; there are: {found or 'none'}{advice}")
        if missed := _missed(name, value, columns):
            raise DocumentError(offset, f"key {quoted(keys[name])}: {_shown(value)} is {missed}")

    def text(name: str) -> Text:
        if name in columns.lists:
            return tuple(_encodable(item, keys[name], offset, encoding_errors) for item in there[name] or ())
        return _encodable(there[name] or "", keys[name], offset, encoding_errors)

    def field(name: str) -> Any:
        value = there[name]
        if name in columns.optional or isinstance(value, list | dict):
            written = _json(typed(value, "number"), keys[name], offset)
            value = Json(_encodable(written, keys[name], offset, encoding_errors))
        return _encodable(value, keys[name], offset, encoding_errors) if type(value) is str else value

    return Document(offset, tuple(map(text, columns.sequences)), tuple(map(field, columns.fields)))


def kind_of(value: object) -> str:
    """What a field is stored as: "truth value", "number", "text" or "list or object"; "" if it cannot be."""
    if isinstance(value, Json):
        return "list or object"
    if isinstance(value, Cell):
        return "text" if (number := _number_in(value)) is None else kind_of(number)
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int):
        return "number" if -LARGEST_INTEGER <= value <= LARGEST_INTEGER else ""
    if isinstance(value, float):
        return "number" if math.isfinite(value) else ""
    return "text" if isinstance(value, str) else ""


def order_of(value: Value) -> tuple[bool, Value]:
    """What different values are sorted by: numbers, then texts."""
    return isinstance(value, str), value


def typed(value: Any, kind: str) -> Any:
    """A value of a column of that kind: a cell as a number or a text, any other as it is."""
    if not isinstance(value, Cell):
        return value
    number = _number_in(value) if kind == "number" else None
    return str(value) if number is None else number


def _number_in(cell: Cell) -> int | float | None:
    """The number that a cell reads as; "007" is none, as in JSON."""
    found = NUMBER.fullmatch(cell)
    number = found and (float(cell) if found[1] else int(cell))
    return number if found and kind_of(number) else None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def _missed(name: str, value: object, columns: Columns) -> str:
    """What a value is not, in words, and has to be; "" where it is."""
    if name in columns.lists:
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "" if is_list else "no list of texts"
    if name in columns.sequences:
        return "" if isinstance(value, str) else "no text"
    return "" if kind_of(value) or isinstance(value, list | dict) else "no number, text or truth value"


def _json(value: object, name: str, offset: int) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(offset, f"key {quoted(name)}: cannot be written as JSON ({error})") from error


def _encodable(text: str, name: str, offset: int, encoding_errors: str) -> str:
    """The text without halves of surrogate pairs, which JSON can escape and UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if encoding_errors == "strict":
            reason = f"key {quoted(name)}: half a surrogate pair is no character; --encoding_errors replace puts U+FFFD"
            raise DocumentError(offset, reason) from error
        return LONE_SURROGATE.sub("\ufffd" if encoding_errors == "replace" else "", text)
    return text


def quoted(name: object) -> str:
    return json.dumps(str(name)[:50], ensure_ascii=False)


def _shown(value: object) -> str:
    """A value in few words."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = "null" if value is None else str(value)
    return shown if len(shown) <= 30 else f"{shown[:30]}..."
