"""YAML as a configuration needs it: mappings, lists, texts and null, and one line for everything else.

The field's own type decides what a text means: `name: 007` and `max_time: 11:30:00`, which YAML would read as numbers,
are taken as written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from dlib.process.errors import UserError, one_line

CORE = "tag:yaml.org,2002:"
READ_TAGS = (f"{CORE}null", f"{CORE}map", f"{CORE}seq")
TEXT_TAGS = (f"{CORE}str", f"{CORE}int", f"{CORE}float", f"{CORE}bool", f"{CORE}timestamp")
MOST_KEYS = 10_000


def read_yaml(path: Path) -> Any:
    """The content of a YAML file: mappings, lists, None, and for every other scalar its text.

    Raises:
        UserError: the file cannot be read or is no YAML; the error names the line.
    """
    try:
        return yaml.load(text_of(path), Loader=TextLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: this is not YAML: {error.problem}") from error
    except RecursionError as error:
        raise UserError(f"{path}: this cannot be read as YAML: it is nested too deeply") from error
    except OSError as error:
        raise UserError(f"{path}: this cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: this cannot be read as YAML: {one_line(str(error))}") from error


def text_of(path: Path) -> str:
    """The text of a file; JSON is YAML, but for tabs between its words."""
    text = path.read_text(encoding="utf-8")
    return text.replace("\t", " ") if path.suffix == ".json" else text


def line_of(path: Path, names: Sequence[str | int]) -> int:
    """The line of a key or element in a YAML file that can be read, by the names that lead there from the outside."""
    node = yaml.compose(text_of(path), Loader=TextLoader)
    line = node.start_mark.line if node else 0
    for name in names:
        named = ((key.value, key, value) for key, value in node.value) if isinstance(name, str) else ()
        numbered = ((place, item, item) for place, item in enumerate(node.value))
        found = next(((key, value) for word, key, value in named or numbered if word == name), None)
        if found is None:  # merged into it from elsewhere, by `<<`
            break
        line, node = found[0].start_mark.line, found[1]
    return int(line) + 1


def _refuse(problem: str, node: yaml.Node) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


class TextLoader(yaml.SafeLoader):
    """A YAML loader that keeps scalars as text, except null, and refuses keys that are no text or appear twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, after refusing keys that would silently replace each other."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                _refuse(
                    "a key must be a word, not a list or mapping (a reference is written ${...}, not {{ ... }})", key
                )
            if key.value in lines:
                _refuse(f"the key {key.value} is there twice, first in line {lines[key.value] + 1}", key)
            lines[key.value] = key.start_mark.line
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Expand `<<`, with a limit: merges of merges of merges grow beyond any memory."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_KEYS:
            _refuse(f"more than {MOST_KEYS:,} keys are merged here", node)

    def construct_undefined(self, node: yaml.Node) -> Any:
        """Refuse a tag that means nothing here."""
        _refuse(f"the tag {node.tag.replace(CORE, '!!')} is not known: leave it out", node)


TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
TextLoader.yaml_constructors = {
    **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in READ_TAGS},
    **dict.fromkeys(TEXT_TAGS, TextLoader.construct_scalar),
    None: TextLoader.construct_undefined,
}
