"""train.py with a clock at each part of an optimizer step.

python -m benchmarks.trainer_parts.watched_train FILE WORDS

It runs train.py with the words, and writes to the file, as JSON, how many seconds each part of a step takes on average.
"""

import json
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

WARM_UP_STEPS = 10
FORWARD, BACKWARD, OPTIMIZER, DATA = "forward", "backward", "clipping and optimizer", "waiting for data"
STEP, BESIDES, BETWEEN = "step", "in the step besides", "between two steps"


class Clock:
    """Seconds of each part so far, and as they were at the beginning of each step."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.seconds = dict.fromkeys((FORWARD, BACKWARD, OPTIMIZER, DATA, STEP), 0.0)
        self.steps: list[tuple[float, dict[str, float]]] = []

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count the time of a function of `owner` for a part."""
        function = getattr(owner, name)

        @wraps(function)
        def watched(*words: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*words, **named)
            finally:
                self.seconds[part] += time.perf_counter() - started

        setattr(owner, name, watched)

    def watch_iteration(self, owner: Any, part: str) -> None:
        """Count the time in which an iterator of `owner` is waited for."""
        iterate: Callable[[Any], Iterator[Any]] = owner.__iter__

        def watched(loader: Any) -> Iterator[Any]:
            items = iterate(loader)
            while True:
                started = time.perf_counter()
                item = next(items, None)
                self.seconds[part] += time.perf_counter() - started
                if item is None:
                    return
                yield item

        owner.__iter__ = watched

    def begin_steps_with(self, owner: Any, name: str) -> None:
        """Begin a step with each call of a function of `owner`."""
        function = getattr(owner, name)

        @wraps(function)
        def beginning(*words: Any, **named: Any) -> Any:
            self.steps.append((time.perf_counter(), self.seconds.copy()))
            return function(*words, **named)

        setattr(owner, name, beginning)

    def means(self) -> dict[str, float]:
        """Seconds of each part in a step after the first ones, and of all that is in none of them."""
        (begun, before), (ended, after) = self.steps[min(WARM_UP_STEPS, len(self.steps) // 2)], self.steps[-1]
        count = len(self.steps) - 1 - min(WARM_UP_STEPS, len(self.steps) // 2)
        parts = {part: (after[part] - before[part]) / count for part in after}
        step = parts.pop(STEP)
        inside = sum(parts[part] for part in (FORWARD, BACKWARD, OPTIMIZER))
        whole = (ended - begun) / count
        return {**parts, BESIDES: step - inside, BETWEEN: whole - step - parts[DATA]}


def main() -> None:
    """Watch, run, write."""
    import torch

    from dlib.data.loader_workers import StepLoader
    from dlib.training.training_module import TrainingModule

    clock = Clock()
    clock.watch(TrainingModule, "forward", FORWARD)
    clock.watch(TrainingModule, "manual_backward", BACKWARD)
    clock.watch(torch.optim.AdamW, "step", OPTIMIZER)
    clock.watch(TrainingModule, "training_step", STEP)
    clock.begin_steps_with(TrainingModule, "training_step")
    clock.watch_iteration(StepLoader, DATA)
    file = Path(sys.argv[1])
    sys.argv = ["train.py", *sys.argv[2:]]
    try:
        runpy.run_path("train.py", run_name="__main__")
    finally:
        file.write_text(json.dumps(clock.means()))


if __name__ == "__main__":
    from dlib.process.messages import quiet_libraries
    from dlib.process.threads import let_threads_sleep

    quiet_libraries()
    let_threads_sleep()
    main()
