"""The demo's text: English prose that every Python carries, one document a line.

    python -m dlib.demo.corpus data/demo

writes `train.txt` and `dev.txt` from the language reference (`pydoc_data.topics`) and the docstrings of the
standard library, so that the demo needs no download. It stands apart because no training depends on it.

    sources -> paragraphs -> prose only, each once -> documents -> train.txt | dev.txt

The text is a pure function of the Python version: modules are parsed in sorted order, never imported.
"""

import argparse
import ast
import hashlib
import os
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from dlib.process.errors import UserError, run_script

DEV_SHARE = 0.05
MIN_DOCUMENT_CHARACTERS = 60
MIN_CORPUS_CHARACTERS = 200_000
SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idlelib", "idle_test", "site-packages", "dist-packages", "pydoc_data", "__pycache__"}
)

UNDERLINE = re.compile(r"^\s*([=\-*~^+#\"'.])\1{2,}\s*$")
SECTION = re.compile(r"\n(?=[^\n]+\n(?:={3,}|\*{3,}|-{3,}|~{3,}|\^{3,})\n)")
BULLET = re.compile(r"^\s*([*+\-•]|\d{1,2}[.)]|\(\d{1,2}\))\s+")
SIGNATURE = re.compile(r"^[\w.]+\(.*\)(\s*(->|=>).*)?:?$")
ROLE = re.compile(r":[\w:+-]+:`~?!?([^`]+?)(?:\s*<[^`>]*>)?`_{0,2}")
QUOTED = re.compile(r"``?([^`]+?)``?_{0,2}|(?<![\w*])\*{1,2}(?=\S)([^*]+?)(?<=\S)\*{1,2}(?![\w*])")
QUOTED_GNU = re.compile(r"`([^`'\s]+)'")
FIELDS = re.compile(r"(Arg|Argument|Parameter|Return|Yield|Raise|Attribute|Keyword argument|Instance attribute)s?:")
UNFINISHED = re.compile(r"[:;#=>]|--|,$")
FOOTNOTE = re.compile(r"\s+\[\d+\](?=[\s.,;:)]|$)")
DANGLING = re.compile(r"(?:(?<=[.!?])\s+|^)[^.!?]*:$")
WORD = re.compile(r"[\"'(\[“‘]*[A-Za-z]+(?:['’\-/][A-Za-z]+)*[\"')\].,;:!?”’]*")
FUNCTION_WORD = re.compile(
    "a|an|and|are|as|at|be|been|but|by|can|for|from|has|have|if|in|into|is|it|its|may|must|no|not|of|on|or|should|so|"
    "than|that|the|their|then|there|these|they|this|to|was|when|where|which|will|with|you",
    re.IGNORECASE,
)


def write_demo_corpus(folder: Path) -> None:
    """Write `train.txt` and `dev.txt` into `folder`, both whole or neither.

    Raises:
        UserError: This Python was installed without its documentation, or the folder cannot be written.
    """
    train, dev = split_documents(collect_documents())
    if sum(map(len, train)) < MIN_CORPUS_CHARACTERS or not dev:
        raise UserError(
            "this Python carries too little text for the demo (its standard library has no sources or docstrings): "
            "take a complete one with PYTHON=/path/to/python, or put your own train.txt and dev.txt into "
            f"{folder}"
        )
    try:
        _write_lines({folder / "train.txt": train, folder / "dev.txt": dev})
    except OSError as error:
        raise UserError(f"cannot write the demo's text to {folder}: {error.strerror}") from error


def collect_documents() -> list[str]:
    """All documents in the order of their sources; no paragraph stands twice."""
    seen: set[str] = set()
    documents = (_join_paragraphs(text, seen) for text in chain(_topics(), _docstrings(_standard_library())))
    return [document for document in documents if len(document) >= MIN_DOCUMENT_CHARACTERS]


def split_documents(documents: Iterable[str]) -> tuple[list[str], list[str]]:
    """Share documents out to (train, dev) by a hash of each text, so that an added one moves no other."""
    train: list[str] = []
    dev: list[str] = []
    for document in documents:
        digest = hashlib.blake2b(document.encode(), digest_size=8).digest()
        (dev if int.from_bytes(digest, "big") < DEV_SHARE * 2**64 else train).append(document)
    return train, dev


def prose_paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a documentation text that read as prose, one line each, without markup.

    Left out: code and what follows `::`, doctests, tables, headings, signatures, directives and field lists.
    """
    code_indent: int | None = None
    for block in re.split(r"\n\s*\n", text.expandtabs().strip("\n")):
        indent = len(block) - len(block.lstrip(" "))
        if code_indent is not None and indent > code_indent:
            continue
        code_indent = indent if block.rstrip().endswith("::") or block.lstrip().startswith(".. ") else None
        for item in _items(block):
            paragraph = _plain(item)
            if _is_prose(paragraph):
                yield paragraph


def _standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _topics() -> Iterator[str]:
    """The language reference as `help("topics")` knows it, a section at a time."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    for name in sorted(topics):
        yield from SECTION.split(topics[name])


def _docstrings(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*.py")):
        if SKIPPED_FOLDERS.isdisjoint(path.relative_to(root).parts):
            yield from _module_docstrings(path)


def _module_docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        # A template or a file that the packager broke: the rest of the library is enough.
        return
    yield from _docstrings_within(tree)


def _docstrings_within(node: ast.AST) -> Iterator[str]:
    """Docstrings of a module or class and of all that its statements define; function bodies are not searched."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        docstring = ast.get_docstring(node)
        if docstring:
            yield docstring
    if isinstance(node, (ast.Module, ast.ClassDef, ast.If, ast.Try)):
        for child in node.body:
            yield from _docstrings_within(child)


def _join_paragraphs(text: str, seen: set[str]) -> str:
    fresh = [paragraph for paragraph in prose_paragraphs(text) if paragraph not in seen]
    seen.update(fresh)
    return " ".join(dict.fromkeys(fresh))


def _items(block: str) -> Iterator[str]:
    """Cut a block at its bullets; a block with code, a table or a directive in it gives nothing."""
    lines = block.splitlines()
    if any(line.lstrip().startswith((">>>", "...", ".. ", ":", "|", "+-", "$ ")) for line in lines):
        return
    if any(UNDERLINE.match(line) for line in lines) or "::=" in block or re.search(r"\S {3,}\S", block):
        return
    item: list[str] = []
    for line in lines:
        if BULLET.match(line) or SIGNATURE.match(line.strip()):
            yield " ".join(item)
            item = []
        if not SIGNATURE.match(line.strip()):
            item.append(BULLET.sub("", line).strip())
    yield " ".join(item)


def _plain(item: str) -> str:
    """Take the reStructuredText off, and a closing sentence that only announces what was left out."""
    text = " ".join(item.split())
    text = QUOTED_GNU.sub(r"\1", ROLE.sub(r"\1", text))
    text = QUOTED.sub(lambda found: found[1] or found[2], text)
    text = FOOTNOTE.sub("", text).replace("`", "").replace("\\", "")
    return DANGLING.sub("", re.sub(r"::$", ":", text)).strip()


def _is_prose(paragraph: str) -> bool:
    """Whether a paragraph reads as English sentences: mostly words, some of them function words, no list of fields."""
    tokens = paragraph.split()
    if len(tokens) < 5 or FIELDS.match(paragraph):
        return False
    if paragraph[-1] not in ".!?)\"'" and UNFINISHED.search(paragraph):
        return False
    words = sum(WORD.fullmatch(token) is not None for token in tokens)
    function_words = sum(FUNCTION_WORD.fullmatch(token) is not None for token in tokens)
    return words >= 0.75 * len(tokens) and function_words >= 0.15 * len(tokens)


def _write_lines(files: dict[Path, list[str]]) -> None:
    """Write all files under temporary names first, then rename them: a reader never meets half a file."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in files}
    try:
        for path, lines in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        for path in files:
            temporary[path].replace(path)
    finally:
        for leftover in temporary.values():
            leftover.unlink(missing_ok=True)


def main() -> None:
    """Read the folder from the command line and write the corpus there."""
    parser = argparse.ArgumentParser(description="Write the demo's train.txt and dev.txt.")
    parser.add_argument("folder", type=Path, help="folder for train.txt and dev.txt, made when missing")
    write_demo_corpus(parser.parse_args().folder)


if __name__ == "__main__":
    run_script(main)
