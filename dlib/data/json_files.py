"""A file that is one JSON value: a list of objects, or the questions of SQuAD below their contexts.

It stands apart from a JSON object a line because it has to be read as a whole, by one process that holds its text.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from dlib.data.document_error import DocumentError
from dlib.data.lines import ByteRange, iterate_lines, whole_file
from dlib.data.records import JSON, Document, document_of
from dlib.data.samples import Columns

BLANKS = re.compile(r"[ \t\n\r]*")


def read_json(file: Path, byte_range: ByteRange, columns: Columns, encoding_errors: str) -> Iterator[Document]:
    """The objects of a list, `[{...}, ...]` or `{"data": [...]}`, where SQuAD's stand for the questions in them.

    A question has the keys `id`, `title`, `context`, `question`, `answers`: `{"text": [...], "answer_start": [...]}`.

    Raises:
        DocumentError: it is no such list; or as `document_of` does.
    """
    if byte_range.start:
        return
    for offset, value in _elements(file, encoding_errors):
        for record in _questions(value, offset) if isinstance(value, dict) and "paragraphs" in value else [value]:
            if not isinstance(record, dict):
                raise DocumentError(offset, 'no object; write a list of them, or {"data": [...]} as in SQuAD')
            yield document_of(record, columns, offset, encoding_errors)


def _elements(file: Path, encoding_errors: str) -> Iterator[tuple[int, Any]]:
    """The elements of the list, each with the byte at which its line starts."""
    lines = list(iterate_lines(file, whole_file(file), encoding_errors))
    text = "\n".join(line for _, line in lines)
    starts = [*accumulate((len(line) + 1 for _, line in lines), initial=0)]

    def offset_of(position: int) -> int:
        return lines[bisect_right(starts, position, hi=len(lines)) - 1][0]

    try:
        for position, value in _listed(text) if text.lstrip().startswith("[") else _below_data(text):
            yield offset_of(position), value
    except (ValueError, RecursionError) as error:
        reason = f"broken JSON ({getattr(error, 'msg', error)})"
        advice = "write [{...}, ...], or call a file of an object a line .jsonl"
        raise DocumentError(offset_of(getattr(error, "pos", 0)), f"{reason}; {advice}") from error


def _below_data(text: str) -> Iterator[tuple[int, Any]]:
    value = JSON.decode(text)
    data = value.get("data") if isinstance(value, dict) else None
    return ((0, element) for element in (data if isinstance(data, list) else [None]))


def _listed(text: str) -> Iterator[tuple[int, Any]]:
    """Where each element of a list starts in its text, and its value, one after the other."""
    position = _after_blanks(text, text.index("[") + 1)
    while text[position : position + 1] != "]":
        value, end = JSON.raw_decode(text, position)
        yield position, value
        position = _after_blanks(text, end)
        if text[position : position + 1] == ",":
            position = _after_blanks(text, position + 1)
        elif text[position : position + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
    if (end := _after_blanks(text, position + 1)) < len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _after_blanks(text: str, position: int) -> int:
    found = BLANKS.match(text, position)
    assert found is not None  # it may be empty
    return found.end()


def _questions(article: Mapping[str, Any], offset: int) -> Iterator[Mapping[str, Any]]:
    """The questions of an article of SQuAD, each with its context."""
    try:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                record = {"title": article.get("title"), "context": paragraph["context"], **question}
                if "answers" in question:
                    names = ("text", "answer_start")
                    record["answers"] = {name: [answer[name] for answer in question["answers"]] for name in names}
                yield record
    except (KeyError, TypeError) as error:
        raise DocumentError(offset, f"an article is not as in SQuAD: no {error} where it has to be") from error
