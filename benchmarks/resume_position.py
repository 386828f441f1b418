"""How long the first batch takes when a run goes on at optimizer step 10^9, against one that begins at step 0.

python -m benchmarks.resume_position [--position 1000000000] [--skipped 2000] [--repeats 31]

The peer is the usual way, in the same process: a loader that always begins at step 0, whose batches are read and thrown
away until the position is reached. Nobody can wait for that at a far position, so it is measured at `--skipped` steps.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from dlib.args import ObjectiveArgs
from dlib.data.batching import BatchPlan
from dlib.data.samples import Sample, SampleKey
from dlib.data.steps import TrainingSteps
from dlib.data.token_roles import TokenRoles
from dlib.objectives import build_objective

NUM_ROWS = 2**40
NUM_TOKENS = 2**20
VOCAB_SIZE = 32768
SEPARATOR, PAD, LEAD, MASK = range(4)


class MemoryRows:
    """Rows (T,) of tokens in memory, as many as there may ever be: reading one costs the same wherever it stands."""

    def __init__(self, length: int) -> None:
        """Draw the tokens."""
        self.tokens = np.random.default_rng(1).integers(4, VOCAB_SIZE, NUM_TOKENS + length)
        self.length = length

    def __len__(self) -> int:
        """Number of rows."""
        return NUM_ROWS

    @property
    def num_tokens(self) -> int:
        """Tokens of all rows."""
        return NUM_ROWS * self.length

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        """One row."""
        return Sample((self.tokens[index % NUM_TOKENS :][: self.length],), number=index, key=key)


def make_steps(rows: int, length: int, total_steps: int) -> TrainingSteps:
    """The steps of a masked language model's run, `rows` rows each."""
    roles = TokenRoles(
        lead_id=LEAD,
        separator_id=SEPARATOR,
        pad_id=PAD,
        mask_id=MASK,
        special_ids=frozenset(range(4)),
        starts_word=np.ones(VOCAB_SIZE, dtype=bool),
        name="benchmark",
    )
    plan = BatchPlan(NUM_ROWS, rows, rows, rows * total_steps, seed=1)
    return TrainingSteps(MemoryRows(length), plan, build_objective(ObjectiveArgs(), roles), 0, 1)


def first_batch(steps: TrainingSteps, begin: int, skipped: int = 0) -> Any:
    """The first batch of a loader that begins at a step, after throwing some away."""
    loader: DataLoader[Any] = DataLoader(steps, batch_size=None, sampler=range(begin, len(steps)))
    batches = iter(loader)
    for _ in range(skipped):
        next(batches)
    return next(batches)


def seconds(action: Callable[[], Any]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> None:
    """Print the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--position", type=int, default=10**9, help="optimizer step at which the run goes on")
    parser.add_argument("--skipped", type=int, default=2000, help="steps that the peer skips")
    parser.add_argument("--rows", type=int, default=32, help="rows of a step")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row")
    parser.add_argument("--repeats", type=int, default=31, help="measurements of ours; of the peer, 3")
    args = parser.parse_args()
    steps = make_steps(args.rows, args.length, args.position + args.skipped + 1)
    near, far = [], []
    for _ in range(args.repeats + 1):
        near.append(seconds(lambda: first_batch(steps, 0)))
        far.append(seconds(lambda: first_batch(steps, args.position)))
    skipping = statistics.median(seconds(lambda: first_batch(steps, 0, args.skipped)) for _ in range(3))
    begin, resume = (statistics.median(measured[1:]) for measured in (near, far))  # the first warms up
    print(f"first batch, {args.rows} x {args.length} of 2^40 rows (medians of {args.repeats}, of the peer 3)")
    print(f"step 0: {begin * 1e3:.2f} ms")
    print(f"step {args.position:,}: {resume * 1e3:.2f} ms, {resume / begin:.2f} x the time")
    print(f"step {args.skipped:,} by skipping: {skipping * 1e3:,.0f} ms, {skipping / begin:,.0f} x the time")


if __name__ == "__main__":
    main()
