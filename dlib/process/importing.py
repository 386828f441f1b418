"""Importing the large libraries, which is most of the time before a first step."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Let the garbage collector rest, and afterwards pass over all that is there by then.

    torch and transformers make more than a million objects that stay. While they are imported the collector would go
    through them again and again, a sixth of the time, and later at each full collection. For blocks that import and do
    nothing else: garbage in circles that such a block leaves is never freed.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
