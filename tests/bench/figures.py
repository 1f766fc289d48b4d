"""A figure: what was measured several times, its unit, and the goal it is held against."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`goal` is the bound in the figure's unit; `most` says that it is an upper one."""

    name: str
    values: tuple[float, ...]
    unit: str
    goal: float
    most: bool = True

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        """Whether the median is within the goal."""
        return self.median <= self.goal if self.most else self.median >= self.goal

    def line(self) -> str:
        """The figure as a row of the table."""
        cells = "".join(f"{value:>12.3g}" for value in (self.median, min(self.values), max(self.values)))
        sign = "≤" if self.most else "≥"
        return f"{self.name:<44}{cells}   {sign} {self.goal:g} {self.unit}  {'✓' if self.met else '✗'}"

    def record(self) -> dict[str, object]:
        """The figure for a machine to read."""
        return {"name": self.name, "unit": self.unit, "values": list(self.values), "goal": self.goal, "met": self.met}
