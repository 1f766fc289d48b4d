"""A figure: what was measured several times, its unit, and the goal it is held against."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`goal` is the bound in the figure's unit, an upper one where `most`; `note` says what it was made from."""

    name: str
    values: tuple[float, ...]
    unit: str
    goal: float
    most: bool = True
    note: str = ""

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
        goal = f"{sign} {self.goal:g} {self.unit}"
        return f"{self.name:<58}{cells}   {goal:<9} {'✓' if self.met else '✗'}  {self.note}".rstrip()

    def record(self) -> dict[str, object]:
        """The figure for a machine to read."""
        return {
            "name": self.name,
            "unit": self.unit,
            "values": list(self.values),
            "goal": self.goal,
            "met": self.met,
            "note": self.note,
        }
