"""The folder that a script is called in."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizers and token stores, for all rows."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def typing_place(tmp_path: Path, session_cache: Path) -> Path:
    """A folder with nothing in it but the cache."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "cache").symlink_to(session_cache)
    return place
