"""How far a work of some seconds or hours is, on stderr: a line that is rewritten on a terminal, else one now and then.

It stands apart from the bar of a training, which rich draws: what works here may run before any library is there.
"""

import sys
import time

SILENT_SECONDS = 3
REWRITING_SECONDS, LINE_SECONDS, SOONEST_LINE_SECONDS = 0.5, 30, 5
LINE_SHARE = 0.1
CLEAR = "\r\x1b[K"


class Progress:
    """A work of `total` units, such as bytes; what was there before it began does not count for its speed."""

    def __init__(self, title: str, total: int) -> None:
        """Begin now."""
        self.title, self.total = title, max(1, total)
        self.done = self.worked = 0
        self.started = self.last_seconds = time.monotonic()
        self.last_done = 0
        self.is_shown = False

    def advance(self, units: int, *, is_new: bool = True) -> None:
        """Count units; those that are not new took no time."""
        self.done += units
        self.worked += units * is_new
        now = time.monotonic()
        if not self.takes_long or not self._is_due(now - self.last_seconds):
            return
        self.last_seconds, self.last_done = now, self.done
        is_terminal = sys.stderr.isatty()
        self.is_shown |= is_terminal
        line = f"{self.title}: {self.done / self.total:.0%}, {self._left(now - self.started)}"
        print(CLEAR + line if is_terminal else line, end="" if is_terminal else "\n", file=sys.stderr, flush=True)

    @property
    def takes_long(self) -> bool:
        """Whether it began so long ago that it is shown."""
        return time.monotonic() - self.started >= SILENT_SECONDS

    def close(self) -> None:
        """Clear the line on a terminal."""
        if self.is_shown:
            print(CLEAR, end="", file=sys.stderr, flush=True)

    def _is_due(self, seconds: float) -> bool:
        if sys.stderr.isatty():
            return seconds >= REWRITING_SECONDS
        has_gone_far = self.done - self.last_done >= LINE_SHARE * self.total
        return seconds >= LINE_SECONDS or (has_gone_far and seconds >= SOONEST_LINE_SECONDS)

    def _left(self, seconds: float) -> str:
        if not self.worked:
            return "time left unknown"
        left = round(seconds * (self.total - self.done) / self.worked)
        return f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
