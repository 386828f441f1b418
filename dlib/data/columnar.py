"""Rows of Parquet and Arrow files as records, a batch at a time. It needs pyarrow, which few runs do."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlib.data.lines import ByteRange
from dlib.process.errors import UserError
from dlib.process.packages import import_optional

ROWS_AT_ONCE = 1024
DAMAGE = (OSError, UnicodeDecodeError)
"""What pyarrow raises besides its own errors, for bytes that cannot be decompressed, and texts that are not UTF-8."""
Row = tuple[int, Mapping[str, Any]]
"""A row's number in its file, from 0, and its values by name."""


def iterate_parquet(file: Path, byte_range: ByteRange, names: Sequence[str]) -> Iterator[Row]:
    """The rows whose row group begins in a range of the file's bytes.

    Raises:
        UserError: pyarrow is not installed, or the file is damaged.
    """
    parquet, arrow = import_optional("pyarrow.parquet", str(file)), import_optional("pyarrow", str(file))
    try:
        with parquet.ParquetFile(file) as opened:
            known, row = _known(opened.schema_arrow.names, names), 0
            for group in range(opened.num_row_groups):
                described = opened.metadata.row_group(group)
                if byte_range.start <= _first_byte(described) < byte_range.stop:
                    batches = opened.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=known, use_threads=False)
                    yield from _rows(batches, row)
                row += described.num_rows
    except (arrow.ArrowException, *DAMAGE) as error:
        raise UserError(f"{file}: no Parquet file, or a damaged one ({error})") from error


def iterate_arrow(file: Path, byte_range: ByteRange, names: Sequence[str]) -> Iterator[Row]:
    """All rows of an Arrow stream, as `datasets` keeps them, for the range that starts at 0; raises as the above."""
    if byte_range.start:
        return
    arrow = import_optional("pyarrow", str(file))
    try:
        with arrow.OSFile(str(file)) as source, arrow.ipc.open_stream(source) as opened:
            known = _known(opened.schema.names, names)
            yield from _rows((batch.select(known) for batch in opened), 0)
    except (arrow.ArrowException, *DAMAGE) as error:
        raise UserError(f"{file}: no Arrow stream, or a damaged one ({error})") from error


def _known(there: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """The columns to read; all where one is missing, so that whoever misses it can say what there is."""
    return [*dict.fromkeys(names)] if {*names} <= {*there} else there


def _first_byte(row_group: Any) -> int:
    column = row_group.column(0)
    return min(place for place in (column.dictionary_page_offset, column.data_page_offset) if place is not None)


def _rows(batches: Iterator[Any], first: int) -> Iterator[Row]:
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            records = batch.slice(start, ROWS_AT_ONCE).to_pylist()
            yield from enumerate(records, first + start)
        first += batch.num_rows
