"""Run `train.py` with the time at which each optimizer step ended, all that belongs to it done, in a file.

python -m benchmarks.timed_train FILE (arguments of train.py)

It stands apart from `checkpoint_stall` because it is what a new interpreter starts with. A line of FILE is a reading of
`time.perf_counter()`.
"""

import sys
import time
from pathlib import Path
from typing import Any

import train
from dlib.process.errors import run_script


def time_steps(file: Path) -> None:
    """Add to train.py's list of callbacks one that acts after all others."""
    build = train.build_callbacks

    def build_timed(*arguments: Any) -> list[Any]:
        from dlib.callbacks.step_callback import Place, StepCallback

        class Times(StepCallback):
            place = Place.SHOW

            def after_step(self, *_: Any) -> None:
                with file.open("a") as opened:
                    opened.write(f"{time.perf_counter()}\n")

        return [*build(*arguments), Times()]

    train.build_callbacks = build_timed  # type: ignore[assignment]


if __name__ == "__main__":
    time_steps(Path(sys.argv[1]))
    sys.argv = ["train.py", *sys.argv[2:]]
    run_script(train.main)
