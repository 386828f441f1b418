"""A figure of a part of the soak."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: what was measured, with its unit.
        value: the figure.
        detail: what it rests on, in words.
        problem: what is wrong with it; None: nothing.
    """

    name: str
    value: float
    detail: str = ""
    problem: str | None = None

    @property
    def shown(self) -> str:
        """The figure, to as many places as mean something."""
        return f"{self.value:,.0f}" if self.value == int(self.value) or self.value >= 100 else f"{self.value:.3g}"
