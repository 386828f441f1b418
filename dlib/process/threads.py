"""The threads of a process: how many, and how they wait. What it sets must be set before torch is imported."""

import os

SPINS = "3000"
"""Looks at the barrier before sleeping, some microseconds: a small model's kernels are often done by then."""


def let_threads_sleep() -> None:
    """Let waiting threads sleep soon in place of spinning long, unless the user chose otherwise.

    Spinning saves microseconds on cores of one's own, and costs a multiple of the whole time on shared ones: on a
    laptop, or with loader processes. The numbers are the same.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def take_one_thread() -> None:
    """Compute with one thread, unless the user chose a number: the order of sums depends on it."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def usable_cores() -> int:
    """Number of CPU cores that this process may use, or of all where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
