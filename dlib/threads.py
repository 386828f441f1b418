"""How the threads of a process wait for each other. It stands apart because it must come before torch is imported."""

import os


def let_threads_sleep() -> None:
    """Have waiting threads sleep in place of spinning, unless the user chose otherwise.

    Spinning saves microseconds where a process has its cores to itself, and costs a multiple of the whole time where it
    shares them: on a laptop, or with loader processes. What is computed is the same.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
