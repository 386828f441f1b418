"""The garbage collector rests while large libraries are imported, and passes over them afterwards."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from dlib.process.importing import without_collecting


class Knot:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def collector_as_it_was() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_within_and_what_was_made_there_is_passed_over() -> None:
    before = gc.get_freeze_count()
    with without_collecting():
        assert not gc.isenabled()
        kept = [Knot() for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


def test_garbage_from_before_is_freed() -> None:
    gc.disable()
    garbage = weakref.ref(Knot())
    gc.enable()
    with without_collecting():
        assert garbage() is None


def test_a_collector_that_rests_is_not_woken() -> None:
    gc.disable()
    with without_collecting():
        pass
    assert not gc.isenabled()


def test_an_import_that_fails_leaves_the_collector_at_work() -> None:
    with pytest.raises(ImportError), without_collecting():
        raise ImportError
    assert gc.isenabled()
