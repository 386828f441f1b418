"""Which tokens stand for some characters of a text."""

import numpy as np


def tokens_of(offsets: np.ndarray, start: int, stop: int) -> tuple[int, int] | None:
    """First and last token of the characters from `start` up to `stop`; None where not all of them are there.

    Args:
        offsets: first character of each token and the one after its last (n, 2), ascending.
        start: first character.
        stop: the one after the last.
    """
    if not len(offsets) or start < offsets[0, 0] or stop > offsets[-1, 1]:
        return None
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], stop, side="left")) - 1
    return (first, last) if first <= last else None
