"""The report of a corpus as text: a column a text, a row a number, and how long documents are."""

from collections.abc import Callable, Sequence

from dlib.browse.tables import can_print, shown_size, table
from dlib.preparing.report import QUANTILES, Lengths, TextReport, filled_bins, length_ranges

BAR_WIDTH = 24

COUNTS: dict[str, Callable[[TextReport], str | None]] = {
    "documents": lambda text: f"{text.documents:,}",
    "size": lambda text: shown_size(text.num_bytes),
    "tokens": lambda text: f"{text.tokens:,}",
    "bytes a token": lambda text: f"{text.num_bytes / max(1, text.tokens):.2f}",
    "unknown tokens": lambda text: _share(text.unknown, text.tokens),
}
"""What is shown first, by its name; None where a text has no such number."""

LENGTHS: dict[str, Callable[[Lengths], str | None]] = {
    "tokens in {}, mean": lambda lengths: f"{lengths.mean:,.1f}",
    **{
        f"... {share} % have at most": lambda lengths, place=place: f"{lengths.quantiles[place]:,}"  # type: ignore[misc]
        for place, share in enumerate(QUANTILES)
    },
    "... the longest": lambda lengths: f"{lengths.longest:,}",
    "longer than a row": lambda lengths: _share(lengths.longer_than_row, lengths.count),
}
"""Then of documents, and of each of several sequences."""

COMPARISONS: dict[str, Callable[[TextReport], str | None]] = {
    "duplicates": lambda text: _share(text.duplicates, text.documents),
    "also in a training text": lambda text: _share(text.overlap, text.documents),
}
"""And at last."""


def facts(reports: Sequence[TextReport]) -> list[str]:
    """The numbers, as the lines of a table."""
    parts = {"a document": [report.lengths for report in reports]}
    filled = [name for name in reports[0].sequences if any(report.sequences[name].longest for report in reports)]
    if len(filled) > 1:
        parts |= {f'"{name}"': [report.sequences[name] for report in reports] for name in filled}
    rows = [[name, *map(number, reports)] for name, number in COUNTS.items()]
    rows += [[name.format(part), *map(number, of)] for part, of in parts.items() for name, number in LENGTHS.items()]
    rows += [[name, *map(number, reports)] for name, number in COMPARISONS.items()]
    return table(rows, ["", *(report.name for report in reports)], range(1, len(reports) + 1))


def lengths(reports: Sequence[TextReport]) -> list[str]:
    """How long documents are, as the lines of a table."""
    first, bins = filled_bins(reports)
    names = length_ranges(bins)
    rows = [[names[place], *(_bar(report, place) for report in reports)] for place in range(first, bins)]
    return table(rows, ["tokens in a document", *(report.name for report in reports)], (0,))


def _share(count: int | None, total: int) -> str | None:
    if count is None:
        return None
    return f"{count:,} ({100 * count / max(1, total):.1f} %)" if count else "0"


def _bar(report: TextReport, place: int) -> str:
    share = report.histogram[place] / report.documents if place < len(report.histogram) else 0.0
    block = "█" if can_print("█") else "#"
    return f"{100 * share:5.1f} % {block * round(share * BAR_WIDTH)}"
