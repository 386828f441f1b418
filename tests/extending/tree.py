"""A copy of this tree into which all of docs/extending.md is typed, and a warm server that runs it."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

from tests.extending.page import apply, sections
from tests.launching import PRELOADED, QUIET, ROOT, THREADS

SCRIPTS = sorted(path.name for path in ROOT.glob("*.py") if path.is_file())
COPIED = ("dlib", "tests", "configs", "pyproject.toml", *SCRIPTS)


def extended_tree(root: Path) -> Path:
    """Make the copy."""
    root.mkdir(parents=True)
    for name in COPIED:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, root / name)
    for section in sections():
        for change in section.changes:
            apply(change, root)
    return root


@contextmanager
def served_from(root: Path) -> Iterator[None]:
    """Within it, `start_warm`, `start_ranks` and `start_generate` run the programs of the tree at `root`.

    A server imports `dlib` once, so the copy has one of its own.
    """
    server = forkserver.ForkServer()
    server.set_forkserver_preload(PRELOADED)
    here = Path.cwd()
    try:
        os.chdir(root)
        with patch.object(sys, "path", [str(root), *sys.path]), patch.dict(os.environ, {**THREADS, **QUIET}):
            server.ensure_running()
    finally:
        os.chdir(here)
    names = ("connect_to_new_process", "set_forkserver_preload", "ensure_running")
    with patch.multiple(forkserver, **{name: getattr(server, name) for name in names}):
        yield
    server._stop()  # type: ignore[attr-defined] # not in typeshed
