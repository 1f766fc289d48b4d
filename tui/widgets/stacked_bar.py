"""One bar of several parts that add up to the whole, with a legend that says each part's figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, set_cell_size

from corral.tui.figures import size
from corral.tui.widgets.drawn_rows import DrawnRow, DrawnRows
from corral.tui.widgets.glyphs import Glyphs

_FILLS = ("█", "▓", "▒", "▚", "░")
_ASCII_FILLS = ("#", "=", "+", "o", ".")


def fills(glyphs: Glyphs) -> tuple[str, ...]:
    """The characters of five parts, the last one for what is free."""
    return _ASCII_FILLS if glyphs is Glyphs.ASCII else _FILLS


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the whole, in bytes; `note` says more where there is room."""

    label: str
    amount: int
    note: str = ""


def shares(amounts: Sequence[int], cells: int) -> list[int]:
    """Whole cells for each amount, exactly `cells` together (largest remainder)."""
    total = sum(amounts)
    if total <= 0:
        return [0] * len(amounts)
    exact = [amount / total * cells for amount in amounts]
    whole = [int(one) for one in exact]
    by_remainder = sorted(range(len(amounts)), key=lambda n: exact[n] - whole[n], reverse=True)
    for n in by_remainder[: cells - sum(whole)]:
        whole[n] += 1
    return whole


class StackedBar(DrawnRows):
    """The bar in the first line, below it the legend: a line a part, or several in a line where it is short of them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "stacked--0",
        "stacked--1",
        "stacked--2",
        "stacked--3",
        "stacked--4",
        "stacked--none",
    }
    DEFAULT_CSS = """
    StackedBar { height: 1fr; }
    StackedBar .stacked--0 { color: $accent; }
    StackedBar .stacked--1 { color: $secondary; }
    StackedBar .stacked--2 { color: $warning; }
    StackedBar .stacked--3 { color: $foreground; }
    StackedBar .stacked--4 { color: $text-muted; }
    StackedBar .stacked--none { color: $text-disabled; }
    """

    def __init__(self, *, glyphs: Glyphs = Glyphs.BRAILLE, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._glyphs = glyphs
        self._parts: tuple[Part, ...] = ()

    def show(self, parts: Sequence[Part]) -> None:
        """Draw these parts, five at most; none at all says `n/a`."""
        self._parts = tuple(parts)
        self.draw_rows()

    def use(self, glyphs: Glyphs) -> None:
        """Draw with another set of characters."""
        self._glyphs = glyphs
        self.draw_rows()

    def _legend(self, width: int, rows: int) -> list[list[int]]:
        """Which parts stand in which row."""
        numbers = list(range(len(self._parts)))
        if rows >= len(numbers):
            return [[n] for n in numbers]
        lines: list[list[int]] = [[]]
        used = 0
        for n in numbers:
            needed = cell_len(self._entry(n)) + 2
            if lines[-1] and used + needed > width + 2:
                lines.append([])
                used = 0
            lines[-1].append(n)
            used += needed
        return lines[:rows]

    def _entry(self, n: int) -> str:
        return f"{fills(self._glyphs)[n]} {self._parts[n].label} {size(self._parts[n].amount)}"

    def _bar(self, width: int) -> DrawnRow:
        characters = fills(self._glyphs)
        cells = shares([part.amount for part in self._parts], width)
        return tuple((characters[n] * cells[n], f"stacked--{n}") for n in range(len(self._parts)) if cells[n])

    def _line(self, numbers: Sequence[int], *, is_one_each: bool) -> DrawnRow:
        """A line of the legend; where each part has one for itself it says more."""
        if not is_one_each:
            return tuple((f"{self._entry(n)}  ", f"stacked--{n}") for n in numbers)
        (n,) = numbers
        part, fill = self._parts[n], fills(self._glyphs)[n]
        return ((f"{fill} {set_cell_size(part.label, 8)} {size(part.amount):>6}  {part.note}", f"stacked--{n}"),)

    def rows_for(self, width: int, height: int) -> Sequence[DrawnRow]:
        """The bar and the lines of the legend."""
        if width <= 0 or height <= 0:
            return ()
        if not self._parts:
            return [(("n/a", "stacked--none"),)]
        legend = self._legend(width, height - 1)
        is_one_each = len(legend) == len(self._parts)
        return [self._bar(width), *(self._line(numbers, is_one_each=is_one_each) for numbers in legend)]
