"""One copy of the tree with all examples, and its server, for a whole session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.extending.tree import extended_tree, served_from


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy."""
    return extended_tree(tmp_path_factory.mktemp("extended") / "tree")


@pytest.fixture(scope="module")
def served(tree: Path) -> Iterator[Path]:
    """The copy, whose programs are what the tests of the module start."""
    with served_from(tree):
        yield tree
