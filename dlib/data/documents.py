"""What a document of plain text is: a line, what stands between blank lines, or a file. Found by looking at the text.

It stands apart from the reading because it is settled once, when a run begins, and recorded with it: another rule
tomorrow changes no run of today.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

from dlib.args import DataArgs
from dlib.args.data import DOCUMENTS
from dlib.data.compression import format_suffix, open_text
from dlib.data.formats import TEXT_READERS, reader_of
from dlib.data.lines import MIB
from dlib.data.passages import BLANKS
from dlib.data.samples import TEXT_ONLY, Columns
from dlib.data.shards import shards_of
from dlib.data.text import located, require_text

SAMPLE_BYTES = 4 * MIB
"""Of the text's beginning; the rest is taken to look like it."""
LONGEST_SHORT_LINE = 120
"""Characters. Verse, wrapped prose and code have no longer lines; a paragraph or an article a line has."""
SHORT_SHARE = 0.95
FEWEST_LINES_A_PARAGRAPH, MOST_LINES_A_PARAGRAPH = 1.5, 100
"""On average. With fewer, lines are paragraphs already; with more, the blank lines are accidents."""
SHARE_THAT_GOES_ON = 0.2
"""Of lines that visibly do not end where they break. A sentence or a formula a line has next to none."""
GOES_ON = tuple(",;:(-–—\\{[")


class Division(NamedTuple):
    """What a document is, and why."""

    document: str  # "line", "blank_line" or "file"
    reason: str


def settle_division(args: DataArgs, text_files: Sequence[Path], columns: Columns) -> Division:
    """What a document of a run's texts is: `--document`, or what is found in the first plain one for `auto`.

    The training texts come first.
    """
    for text_file in text_files:
        require_text(text_file)
    shards = [shards_of(text_file)[0] for text_file in text_files]
    plain = [shard for shard in shards if reader_of(format_suffix(shard)) is TEXT_READERS["line"]]
    if not plain:
        reason = f"as {format_suffix(shards[0])} divides them"
        return Division("line" if args.document == "auto" else args.document, reason)
    each = "each" if plain[0] == shards[0] else f"each of {plain[0].name}"
    if args.document != "auto":
        return Division(args.document, f"{each} is {DOCUMENTS[args.document]} (--document {args.document})")
    if args.line_by_line or columns != TEXT_ONLY:
        return Division("line", f"{each} is a line, as each row is")
    document, reason = divide(plain[0])
    return Division(document, f"{each} is {DOCUMENTS[document]} (--document {document}): {reason}")


def divide(text_file: Path) -> Division:
    """Say what a document of a plain text is, by its first lines."""
    with located(text_file), open_text(text_file) as file:
        content = file.read(SAMPLE_BYTES)
    lines = content.decode("utf-8", "replace").split("\n")
    return divide_lines(lines[:-1] if len(content) == SAMPLE_BYTES and len(lines) > 1 else lines)


def divide_lines(lines: Sequence[str]) -> Division:
    """Say what a document is where a text begins with such lines."""
    stripped = [line.strip(BLANKS) for line in lines]
    lengths = sorted(len(line) for line in stripped if line)
    if not lengths:
        return Division("line", "there is no text")
    usual = lengths[int(SHORT_SHARE * (len(lengths) - 1))]
    paragraphs = sum(has_text for has_text, _ in groupby(stripped, bool))
    if usual > LONGEST_SHORT_LINE:
        long = f"lines are long, {1 - SHORT_SHARE:.0%} of them {usual:,} characters or more"
        return Division("line", long + blank_lines_too(len(lengths) / paragraphs, paragraphs))
    short = f"lines are short, {SHORT_SHARE:.0%} of them at most {usual} characters"
    if paragraphs > 1 and len(lengths) / paragraphs <= MOST_LINES_A_PARAGRAPH:
        if len(lengths) / paragraphs >= FEWEST_LINES_A_PARAGRAPH:
            return Division("blank_line", f"{short}, {len(lengths) / paragraphs:.1f} between blank lines")
        return Division("line", "most lines stand between blank lines by themselves")
    going_on = sum(goes_on(*pair) for pair in pairwise(line for line in lines if line.strip(BLANKS)))
    share = going_on / len(lengths)
    if share >= SHARE_THAT_GOES_ON:
        return Division("file", f"{short}, few are blank, and {share:.0%} go on in the next line")
    return Division("line", "there are few blank lines, and lines do not go on in the next")


def blank_lines_too(lines_a_paragraph: float, paragraphs: int) -> str:
    """What is to be said where long lines are taken for documents, and blank lines part some of them; or nothing."""
    if paragraphs == 1 or not FEWEST_LINES_A_PARAGRAPH <= lines_a_paragraph <= MOST_LINES_A_PARAGRAPH:
        return ""
    times = f"{lines_a_paragraph:.1f} at a time"
    return f"; blank lines part them, {times}: if those are documents, write --document blank_line"


def goes_on(line: str, following: str) -> bool:
    """Whether a line visibly goes on in the one after it: by its last character, or by how the next is indented."""
    return line.rstrip(BLANKS).endswith(GOES_ON) or following[0] in BLANKS
