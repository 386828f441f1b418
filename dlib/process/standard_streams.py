"""The lines that a script reads on stdin and writes on stdout, where nothing else may stand.

A line ends at a line feed, as in training texts; a carriage return before it belongs to the end.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress

PROMPT = "> "


def input_lines() -> Iterator[str]:
    """The lines of stdin as they come, without their ends; typed at a prompt where stdin is a terminal.

    Bytes that are not UTF-8 become U+FFFD.
    """
    if sys.stdin.isatty():
        yield from typed_lines()
        return
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", errors="replace").removesuffix("\n").removesuffix("\r")


def typed_lines() -> Iterator[str]:
    """The lines that somebody types, up to Ctrl-D."""
    with suppress(ImportError):  # not part of every Python: there is no history then
        import readline  # noqa: F401
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    while True:
        try:
            line = input(PROMPT) if sys.stdout.isatty() else ask_on_stderr()
        except EOFError:
            print(file=sys.stderr)
            return
        yield line


def ask_on_stderr() -> str:
    """A typed line where stdout goes elsewhere; `input` would write its prompt there. Raises EOFError at the end."""
    print(PROMPT, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n")


def write(text: str) -> None:
    """Write a part of a line: its line breaks become spaces."""
    sys.stdout.write(on_one_line(text))


def write_line(text: str) -> None:
    """Write a line."""
    sys.stdout.write(on_one_line(text) + "\n")


def on_one_line(text: str) -> str:
    """The text with a space for every line break, so that an output has as many lines as its input."""
    return text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
