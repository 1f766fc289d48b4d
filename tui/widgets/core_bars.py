"""How busy every core is, in as few cells as there are to have."""

from __future__ import annotations

from collections.abc import Sequence

from corral.tui.widgets.drawn_rows import DrawnRow, DrawnRows
from corral.tui.widgets.glyphs import Glyphs, bar

_BAR = 4
_BLOCKS = "▁▂▃▄▅▆▇█"
_DIGITS = "0123456789"


def core_lines(percents: Sequence[float], width: int, height: int, glyphs: Glyphs) -> list[str]:
    """Rows of `0▓▓░░ 1▓░░░`; one character a core where numbered bars do not fit, a count of what is left out."""
    if not percents or width <= 0 or height <= 0:
        return []
    digits = len(str(len(percents) - 1))
    cell = digits + _BAR + 1
    per_row = max(1, (width + 1) // cell)
    if width >= cell and per_row * height >= len(percents):
        cells = [f"{n:>{digits}}{bar(min(p, 100) / 100, _BAR, glyphs)}" for n, p in enumerate(percents)]
        return [" ".join(cells[start : start + per_row]) for start in range(0, len(cells), per_row)]
    scale = _DIGITS if glyphs is Glyphs.ASCII else _BLOCKS
    marks = "".join(scale[min(int(max(p, 0) / 100 * len(scale)), len(scale) - 1)] for p in percents)
    if len(marks) > width * height:
        more = f"+{len(marks) - width * height + 5}"
        marks = marks[: width * height - 5] + more[:5].ljust(5)
    return [marks[start : start + width] for start in range(0, len(marks), width)]


class CoreBars(DrawnRows):
    """A small bar for every core."""

    DEFAULT_CSS = "CoreBars { height: 1; color: $accent; }"

    def __init__(self, *, glyphs: Glyphs = Glyphs.BRAILLE, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._glyphs = glyphs
        self._percents: tuple[float, ...] = ()

    def show(self, percents: Sequence[float]) -> None:
        """Draw these loads, 0..100 each."""
        self._percents = tuple(percents)
        self.draw_rows()

    def use(self, glyphs: Glyphs) -> None:
        """Draw with another set of characters."""
        self._glyphs = glyphs
        self.draw_rows()

    def rows_for(self, width: int, height: int) -> Sequence[DrawnRow]:
        """The bars, as many to a row as fit."""
        return [((line, ""),) for line in core_lines(self._percents, width, height, self._glyphs)]
