"""What a computation costs beside another: a ratio, as seconds would tell of the machine."""

import time
from collections.abc import Callable


def times_the_cost(one: Callable[[], object], other: Callable[[], object], repeats: int = 7) -> float:
    """How often the processor could do `other` while it does `one`: the least time of some calls of each, in turn."""
    taken: dict[Callable[[], object], float] = {one: float("inf"), other: float("inf")}
    for _ in range(repeats):
        for call in taken:
            began = time.process_time()
            call()
            taken[call] = min(taken[call], time.process_time() - began)
    return taken[one] / taken[other]
