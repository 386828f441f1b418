"""Where the main thread of a process stands, and for how long: what a process that waits can say of itself.

A process that hangs, and one that waits for it, both stand still; only the places differ.
"""

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import ClassVar

SHOWN_PARTS = 3
"""Parts of a path that tell a file: `torch/autograd/graph.py`."""
DEEPEST = 50
"""Frames that are compared: a loop in the innermost ones is movement."""


class Standing:
    """Looks at the main thread again and again."""

    moves: ClassVar[int] = 0
    """How often this process has said that it moves, where it is mostly found in the same place."""

    def __init__(self) -> None:
        """Begin with what it does now."""
        self._main = threading.main_thread().ident or 0
        self._seen: tuple[int, list[tuple[int, int]]] = (0, [])
        self._since = time.monotonic()
        self.place = ""

    def look(self) -> float:
        """Seconds since the main thread was first seen where it stands now; sets `place`."""
        frame = sys._current_frames().get(self._main)
        now = (Standing.moves, stack_of(frame))
        if frame is None or now != self._seen:
            self._seen, self._since = now, time.monotonic()
        self.place = describe(frame)
        return time.monotonic() - self._since


def stack_of(frame: FrameType | None) -> list[tuple[int, int]]:
    """What tells one state of a stack from another: each frame, and its instruction."""
    stack: list[tuple[int, int]] = []
    while frame is not None and len(stack) < DEEPEST:
        stack.append((id(frame), frame.f_lasti))
        frame = frame.f_back
    return stack


def describe(frame: FrameType | None) -> str:
    """A frame in words: `torch/autograd/graph.py:841 (_engine_run_backward)`."""
    if frame is None:
        return "nowhere"
    file = "/".join(Path(frame.f_code.co_filename).parts[-SHOWN_PARTS:])
    return f"{file}:{frame.f_lineno} ({frame.f_code.co_name})"


def side_by_side(states: Mapping[int, str]) -> str:
    """Which ranks do what, the fewest first: where one stands alone, the others mostly wait for it."""
    ranks: dict[str, list[int]] = {}
    for rank, state in sorted(states.items()):
        ranks.setdefault(state, []).append(rank)
    groups = sorted(ranks.items(), key=lambda group: len(group[1]))
    return "; ".join(f"{name_ranks(numbers)}: {state}" for state, numbers in groups)


def name_ranks(ranks: list[int], most: int = 8) -> str:
    """Ranks in words: `rank 3`, `ranks 0, 1, 2 ... (16 of them)`."""
    listed = ", ".join(str(rank) for rank in ranks[:most])
    further = f" ... ({len(ranks)} of them)" if len(ranks) > most else ""
    return f"rank{'s' * (len(ranks) > 1)} {listed}{further}"
