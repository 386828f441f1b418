"""From YAML files to a flat list of settings that remember where they were said.

    a.yml b.yml --read_yaml--> mappings --flatten--> settings and references --open_references--> settings

A reference is a value `${from_file:other.yml}`: the content of the other file replaces it, for a single key, a section
or a whole file. References are opened before anything is merged, so that a later file or the command line can still
change single keys of a section that came from a file. Every scalar stays the text that was written.

The section `vars` belongs to nobody: what it holds is there to be referred to, `${vars.size}`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any, get_origin

from omegaconf import OmegaConf
from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from dlib.args import ExperimentArgs
from dlib.args.fields import facts_of
from dlib.config.corpora import corpus_text
from dlib.config.fields import FIELDS, GROUPS, bare_type, flag_of, kind_of, nearest_key
from dlib.config.strict_yaml import read_yaml
from dlib.process.errors import UserError, quoted

REFERENCE_START = "${from_file:"
VARIABLES = "vars"
VARIABLE_NAME = re.compile(r"[A-Za-z_]\w*")
MISSING_VARIABLE = re.compile(r"Environment variable '(?P<name>[^']*)' not found")
MISSING_KEY = re.compile(r"Interpolation key '(?P<name>[^']*)' not found")


@dataclass(frozen=True)
class Setting:
    """One field's or variable's value, and the place that an error names: a file and key, or a flag."""

    key: str
    value: Any
    place: str


@dataclass(frozen=True)
class Reference:
    """A `${from_file:name}` under `key`; `files` are those that led here, outermost first."""

    key: str
    name: str
    files: tuple[Path, ...]


def read_settings(paths: Sequence[Path], overrides: Mapping[str, Any]) -> dict[str, Setting]:
    """Reads the files in order and the overrides, by full key, last; of several settings of a key the last one stays.

    Raises:
        UserError: a file is missing, is no YAML or no mapping, comes back to itself, or holds an unknown key.
    """
    items: list[Setting | Reference] = [
        item for path in paths for item in open_references([Reference("", str(path), ())], None)
    ]
    items += open_references(flatten(overrides, "", ()), None)
    if any(isinstance(item, Reference) for item in items):
        # What is left are names with a `${`: they may refer to settings of the files that are open by now.
        items = open_references(items, context_of(items))
    return {item.key: item for item in items if isinstance(item, Setting)}


def open_references(items: Iterable[Setting | Reference], context: Any | None) -> list[Setting | Reference]:
    """The items, with the content of files in place of the references to them.

    Without a context, in which names are looked up, names with a `${` stay closed.
    """
    opened: list[Setting | Reference] = []
    for item in items:
        if isinstance(item, Setting) or (context is None and "${" in item.name):
            opened.append(item)
        else:
            opened += open_references(open_reference(item, context), context)
    return opened


def open_reference(reference: Reference, context: Any | None) -> Iterator[Setting | Reference]:
    """The content of the file that a reference names, under the reference's key."""
    name = resolve_name(reference, context) if "${" in reference.name else reference.name
    path = find_file(name, reference)
    known = [file.resolve() for file in reference.files]
    if path.resolve() in known:
        cycle = [*reference.files[known.index(path.resolve()) :], path]
        raise UserError(
            f"{reference.files[-1]}: the files refer to each other in a circle: {' -> '.join(map(str, cycle))}"
        )
    return flatten(read_yaml(path), reference.key, (*reference.files, path))


def resolve_name(reference: Reference, context: Any) -> str:
    """A file name that is itself an interpolation, looked up in the settings known so far."""
    place = place_of(reference.key, reference.files)
    try:
        context["file_name"] = reference.name
        return str(context["file_name"])
    except OmegaConfBaseException as error:
        raise UserError(explain_interpolation(error, place)) from error


def context_of(items: Sequence[Setting | Reference]) -> Any:
    """The configuration as far as it is known before all references are opened, to look up names of files."""
    values: dict[str, Any] = asdict(ExperimentArgs())
    for item in items:
        *groups, name = item.key.split(".")
        group = reduce(lambda outer, word: outer.setdefault(word, {}), groups, values)
        if isinstance(item, Setting):
            group[name] = item.value
        else:
            # What stands in a file that is still shut is unknown: better "not found" than the default.
            group.pop(name, None) if name else values.clear()
    try:
        return OmegaConf.create(values)
    except OmegaConfBaseException as error:
        places = {item.key: item.place for item in items if isinstance(item, Setting)}
        raise UserError(explain_interpolation(error, places.get(error.full_key or "", "command line"))) from error


def find_file(name: str, reference: Reference) -> Path:
    """The file of a reference: beside the file that names it, else in `$DLIB_CONFIG_DIR`."""
    folders = [reference.files[-1].parent] if reference.files else [Path()]
    if os.environ.get("DLIB_CONFIG_DIR"):
        folders.append(Path(os.environ["DLIB_CONFIG_DIR"]))
    # Not Path.expanduser, which raises for a user who is not there.
    candidates = [folder / os.path.expanduser(name) for folder in folders]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked_for = " nor ".join(dict.fromkeys(map(str, candidates)))
    place = place_of(reference.key, reference.files) if reference.files else "--config_path"
    raise UserError(f"{place}: there is no file {looked_for}")


def flatten(content: Any, prefix: str, files: tuple[Path, ...]) -> Iterator[Setting | Reference]:
    """The settings and references in a file's content, or a part of it, under the key `prefix`.

    `files` are those that led here; empty for the command line.
    """
    if isinstance(content, str) and content.startswith(REFERENCE_START) and content.endswith("}"):
        yield Reference(prefix, content.removeprefix(REFERENCE_START)[:-1].strip(" \"'"), files)
    elif prefix.startswith(f"{VARIABLES}."):
        yield Setting(prefix, content, place_of(prefix, files))
    elif prefix in FIELDS:
        if facts_of(FIELDS[prefix]).corpora and is_sequence(content):
            place = place_of(prefix, files)
            content = [corpus_text(item, place) if isinstance(item, Mapping) else item for item in content]
        is_mapping, takes_mapping = isinstance(content, Mapping), get_origin(bare_type(FIELDS[prefix])) is dict
        elements = content.values() if is_mapping else content if is_sequence(content) else ()
        nested = any(isinstance(element, Mapping) or is_sequence(element) for element in elements)
        if (is_mapping and not takes_mapping) or nested:
            raise UserError(f"{place_of(prefix, files)}: this must be {kind_of(FIELDS[prefix])}")
        yield Setting(prefix, content, place_of(prefix, files))
    elif content is not None:  # an empty file, or a section whose keys are all commented out, says nothing
        yield from flatten_mapping(content, prefix, files)


def is_sequence(content: Any) -> bool:
    """Whether the content is a list of any kind."""
    return isinstance(content, Sequence) and not isinstance(content, str)


def flatten_mapping(content: Any, prefix: str, files: tuple[Path, ...]) -> Iterator[Setting | Reference]:
    """`flatten` for content that must be a mapping of known keys."""
    place = place_of(prefix, files)
    if not isinstance(content, Mapping):
        raise UserError(f"{place}: this must be a mapping of keys to values, not {quoted(content)}")
    for name, value in content.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if prefix == VARIABLES:
            if not VARIABLE_NAME.fullmatch(str(name)):
                raise UserError(f"{place}: {quoted(name)} can name no variable: take letters, digits and _")
        elif key not in FIELDS and key not in GROUPS and key != VARIABLES:
            siblings = [known for known in (*GROUPS, *FIELDS, VARIABLES) if known.rpartition(".")[0] == prefix]
            raise UserError(f"{place_of('', files)}: unknown key {key}{nearest_key(key, siblings)}")
        yield from flatten(value, key, files)


def place_of(key: str, files: tuple[Path, ...]) -> str:
    """Where a key was said, for an error message: the file and the key, or the flag."""
    if not files:
        return flag_of(key) if key else "command line"
    return f"{files[-1]}: {key}" if key else str(files[-1])


def explain_interpolation(error: OmegaConfBaseException, place: str) -> str:
    """The message for a failed interpolation at `place`, a file and key or a flag."""
    first_line = str(error).partition("\n")[0]
    if variable := MISSING_VARIABLE.search(first_line):
        name = variable["name"]
        return f"{place}: the environment variable {name} is not set: set it, or write ${{oc.env:{name},default}}"
    if isinstance(error, InterpolationKeyError) and (key := MISSING_KEY.search(first_line)):
        return f"{place}: there is no {key['name']} to refer to: write a full key such as ${{optim.learning_rate}}"
    if isinstance(error, UnsupportedInterpolationType) and "from_file" in first_line:
        return f"{place}: ${{from_file:...}} must be the whole value of a key"
    if isinstance(error, GrammarParseError):
        return f"{place}: this ${{ begins no reference that can be read: write \\${{ where it is plain text"
    if "Recursive interpolation" in first_line:
        return f"{place}: this refers to itself"
    return f"{place}: {first_line}"
