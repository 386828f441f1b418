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
    """

    state: str  # one of `STATES`
    step: int  # optimizer steps done
    total_steps: int  # optimizer steps of the whole run
    time: str  # when this was written, ISO 8601 in UTC
    pid: int  # process that holds or last held the run
    host: str  # the machine of that process
    reason: str | None = None  # why it failed, or finished before its goal, in one line
    best_by: str = "dev/loss"  # the metric that says which checkpoint is the best
    best_is_highest: bool = False  # whether it is to be high

    def is_sound(self) -> bool:
        """Whether every attribute is of its type: what a file says may be of any."""
        numbers, texts = (self.step, self.total_steps, self.pid), (self.time, self.host, self.best_by)
        return (
            self.state in STATES
            and all(isinstance(number, int) for number in numbers)
            and all(isinstance(text, str) for text in texts)
            and (self.reason is None or isinstance(self.reason, str))
        )
