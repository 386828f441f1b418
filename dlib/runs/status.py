"""Where a run stands, and how it may get from one state to another."""

from dataclasses import dataclass

STATES = ("created", "running", "preempted", "failed", "finished")


@dataclass(frozen=True)
class Status:
    """Where a run is, as status.json tells it.

    created ---> running ---> finished    the goal is reached, or a callback found that it is enough
                 |     ^ |--> failed      an error ended it
                 v     |          |
             preempted-+----------+       the same command continues from the last checkpoint

    preempted: stopped by a signal or the clock, with everything saved. A killed process leaves "running" behind.

    Attributes:
        state: one of `STATES`.
        step: optimizer steps done.
        total_steps: optimizer steps of the whole run.
        time: when this was written, ISO 8601 in UTC.
        pid: process that holds or last held the run.
        host: the machine of that process.
        reason: what made it fail, or finish before its goal, in one line; else None.
        best_by: the metric that says which checkpoint is the best.
        best_is_highest: whether it is to be high.
    """

    state: str
    step: int
    total_steps: int
    time: str
    pid: int
    host: str
    reason: str | None = None
    best_by: str = "dev/loss"
    best_is_highest: bool = False

    def is_sound(self) -> bool:
        """Whether every attribute is of its type: what a file says may be of any."""
        numbers, texts = (self.step, self.total_steps, self.pid), (self.time, self.host, self.best_by)
        return (
            self.state in STATES
            and all(isinstance(number, int) for number in numbers)
            and all(isinstance(text, str) for text in texts)
            and (self.reason is None or isinstance(self.reason, str))
        )
