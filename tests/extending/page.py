"""What docs/extending.md shows, read so that tests can type it as a user would.

A paragraph that ends in a colon says what the block below it is:

    `dlib/objectives/mine.py`:              the file
    in `OBJECTIVES` of `dlib/args/tables.py`:   lines at the end of a table or class, or before what a function returns
    above `FORMATS` in `dlib/data/formats.py`:  lines before a definition
    in the list of `train.py`:              callbacks of the list, after the lines that import them
    in `data/train.jsonl`:                  the first lines of a text

Blocks of bash are commands; those without a language are what comes out.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
FENCED = re.compile(r"^((?:[^\n]+\n)*)\n```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`((?:dlib|configs)/[\w./-]+)`.*:")
WITHIN = re.compile(r".*[Ii]n `(\w+)` of `([\w./]+)`:", re.DOTALL)
ABOVE = re.compile(r".*above `(\w+)` in `([\w./]+)`:", re.DOTALL)
LISTED = re.compile(r".*[Ii]n the list of `train.py`:", re.DOTALL)
TEXT = re.compile(r".*[Ii]n `data/([\w.]+)`:", re.DOTALL)
PYTHON = ".venv/bin/python"


@dataclass(frozen=True)
class Change:
    """What is typed into one file.

    Attributes:
        path: of the file, below the tree's root.
        code: what is typed.
        name: of the table, class or definition at which it stands; empty where it is the whole file.
        above: whether it stands before the definition, and not at its end.
    """

    path: str
    code: str
    name: str = ""
    above: bool = False


@dataclass(frozen=True)
class Section:
    """One example.

    Attributes:
        title: its heading.
        changes: what it has a user type.
        texts: the first lines of each text that it shows, by the file's name in `data`.
        commands: the words of each command, without the interpreter.
    """

    title: str
    changes: list[Change] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """The files that it has a user touch."""
        return sorted({change.path for change in self.changes})

    @property
    def num_lines(self) -> int:
        """Lines of code that a user writes, without blank ones, imports and documentation."""
        return sum(count_code(change) for change in self.changes)


def sections() -> Iterator[Section]:
    """The examples of the page, in its order."""
    for text in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        section = Section(text.partition("\n")[0])
        for lead, language, code in FENCED.findall(text):
            add_block(section, lead.strip(), language, code)
        if section.changes or section.commands:
            yield section


def add_block(section: Section, lead: str, language: str, code: str) -> None:
    """Add what stands in a block below the paragraph `lead`."""
    if language == "bash":
        words = (shlex.split(line.rpartition("| ")[2], comments=True) for line in code.splitlines())
        section.commands.extend(command[1:] for command in words if command[:1] == [PYTHON])
    elif language in ("json", "text") and not FILE.fullmatch(lead):
        section.texts[found(TEXT, lead)[0]] = code
    elif language in ("python", "json"):
        section.changes.append(change_of(lead, code))


def change_of(lead: str, code: str) -> Change:
    """What a block of Python below a paragraph changes."""
    if LISTED.fullmatch(lead):
        return Change("train.py", code, "listed")
    for pattern, above in ((WITHIN, False), (ABOVE, True)):
        if match := pattern.fullmatch(lead):
            return Change(match[2], code, match[1], above)
    return Change(found(FILE, lead)[0], code)


def found(pattern: re.Pattern[str], lead: str) -> tuple[str, ...]:
    """What a paragraph names; it has to end so."""
    match = pattern.fullmatch(lead)
    assert match, f"{PAGE.name}: a block has no place that is named as others are: {lead!r}"
    return match.groups()


def count_code(change: Change) -> int:
    """Lines of a block that are neither blank nor imports nor documentation."""
    left_out: set[int] = set()
    for node in [] if change.name else ast.walk(ast.parse(change.code)):
        is_text = isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)
        if isinstance(node, ast.stmt) and (is_text or isinstance(node, ast.Import | ast.ImportFrom)):
            left_out |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    lines = enumerate(change.code.splitlines(), start=1)
    return sum(bool(line.strip()) and number not in left_out for number, line in lines)


def apply(change: Change, root: Path) -> None:
    """Type it into the tree at `root`."""
    file = root / change.path
    if not change.name:
        assert not file.exists(), f"{PAGE.name}: {change.path} is there already"
        file.parent.mkdir(exist_ok=True)
        file.write_text(change.code, encoding="utf-8")
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    code = change.code.splitlines(keepends=True)
    if change.path == "train.py":
        imports = [f"    {line}" for line in code if line.startswith("from ")]
        code = [line for line in code if not line.startswith("from ")]
        add_imports(imports, lines)
    place = place_of(change, "".join(lines))
    lines[place:place] = [*code, "\n\n"] if change.above else code
    file.write_text("".join(lines), encoding="utf-8")


def add_imports(imports: list[str], lines: list[str]) -> None:
    """Type imports beside those of the other callbacks, those of libraries before them."""
    ours = [line for line in imports if "from dlib." in line]
    theirs = [*(line for line in imports if line not in ours), "\n"]
    for there, those in (("from dlib.callbacks.order ", ours), ("from dlib.callbacks.anomalies ", theirs)):
        place = next(number for number, line in enumerate(lines) if there in line)
        lines[place:place] = those


def place_of(change: Change, text: str) -> int:
    """Number of lines before the place at which a change is typed."""
    for node in ast.walk(ast.parse(text)):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names = {getattr(target, "id", None) for target in targets} | {getattr(node, "name", None)}
        if change.name in names and isinstance(node, ast.stmt):
            assert node.end_lineno is not None
            if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return):
                return node.body[-1].lineno - 1
            is_bracket = isinstance(node, ast.Assign | ast.AnnAssign)
            return node.lineno - 1 if change.above else node.end_lineno - is_bracket
    raise AssertionError(f"{PAGE.name}: {change.path} has no {change.name}")
