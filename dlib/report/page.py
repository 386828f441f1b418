"""A report as one HTML file: data, style and script stand inside it, and it asks the network for nothing.

All text of runs is data: JSON in which no `<` is left, put into the page by the script as text. The page's own policy
(Content-Security-Policy) lets nothing else run or load, whatever a name or a sample holds.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from dlib.process.durable import refuse_output, write_output
from dlib.process.errors import UserError
from dlib.report.gathering import ReportRequest, gather
from dlib.runs.folder import RunFolder

PARTS = Path(__file__).parent
SCRIPTS = ("tables.js", "charts.js", "page.js")
"""One script once they are in the page; each uses what those before it define."""


def write_report(folders: Sequence[RunFolder], request: ReportRequest, output: Path) -> None:
    """Write the page of these runs; it appears whole or not at all.

    Raises:
        UserError: it cannot be written, or something that was asked for was not recorded.
    """
    refuse_output(output, "-o")
    if request.samples < 0:
        raise UserError(f"--samples {request.samples}: give at least 0")
    content = page_of(gather(folders, request)).encode()
    write_output(output, content)
    print(f"wrote {output}: {len(folders)} run{'s' * (len(folders) > 1)}")


def page_of(data: Mapping[str, Any]) -> str:
    """The page that shows this data."""
    style, script = _read("page.css"), "".join(map(_read, SCRIPTS))
    return Template(_read("page.html")).substitute(
        style=style, style_hash=_hash(style), script=script, script_hash=_hash(script), data=embedded(data)
    )


def embedded(data: Mapping[str, Any]) -> str:
    """Data as JSON that may stand inside a script element: nothing in it ends or begins a tag or a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a Content-Security-Policy names an inline part by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
