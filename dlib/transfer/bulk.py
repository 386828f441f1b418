"""Exporting several runs, each to a place of its own."""

import sys
from collections.abc import Callable, Sequence

from dlib.process.errors import UserError, one_line
from dlib.runs.folder import RunFolder
from dlib.transfer.addresses import ARCHIVE_ENDINGS

NAME = "{name}"
"""What a run's name takes the place of in a destination."""


def export_each(runs: Sequence[RunFolder], destination: str, export: Callable[[RunFolder, str], None]) -> None:
    """Export runs to `destination/<name>`, or to where the destination has `{name}`; one that fails keeps none back.

    Raises:
        UserError: the destination is one archive, or runs could not be exported, each of which was told.
    """
    if NAME not in destination and destination.endswith(ARCHIVE_ENDINGS):
        raise UserError(f"{destination}: it is one file: give a folder, or {NAME} in its name, 'models/{NAME}.tar'")
    pattern = destination if NAME in destination else f"{destination.rstrip('/')}/{NAME}"
    failed = 0
    for run in runs:
        try:
            export(run, pattern.replace(NAME, run.name))
        except UserError as error:
            failed += 1
            print(f"error: {one_line(f'{run.name}: {error}')}", file=sys.stderr)
    if failed:
        raise UserError(f"{failed} of {len(runs)} runs could not be exported, see above")
