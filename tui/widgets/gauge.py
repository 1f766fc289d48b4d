"""A labelled bar with its figures; a figure nobody knows is `n/a`, never nothing per cent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size

from corral.tui.widgets.drawn_rows import DrawnRow, DrawnRows
from corral.tui.widgets.glyphs import Glyphs, bar

_LEAST_BAR = 4


class Gauge(DrawnRows):
    """One line: label, bar, figures. `None` draws the bar empty and says `n/a`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"gauge--label", "gauge--bar", "gauge--full", "gauge--none"}
    DEFAULT_CSS = """
    Gauge { height: 1; }
    Gauge .gauge--label { color: $text-muted; }
    Gauge .gauge--bar { color: $accent; }
    Gauge .gauge--full { color: $warning; }
    Gauge .gauge--none { color: $text-disabled; }
    """
    HIGH = 0.85

    def __init__(self, label: str, *, glyphs: Glyphs = Glyphs.BRAILLE, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._label = label
        self._glyphs = glyphs
        self._fraction: float | None = None
        self._figures = ""

    def show(self, fraction: float | None, figures: str = "", *, label: str | None = None) -> None:
        """Draw `fraction` (0..1) with the text beside it."""
        self._fraction, self._figures = fraction, figures
        self._label = self._label if label is None else label
        self.draw_rows()

    def use(self, glyphs: Glyphs) -> None:
        """Draw with another set of characters."""
        self._glyphs = glyphs
        self.draw_rows()

    def rows_for(self, width: int, height: int) -> Sequence[DrawnRow]:
        """The one line."""
        if width <= 0:
            return ()
        figures = self._figures
        if self._fraction is None:
            figures = f"n/a {figures}".rstrip()
        label = f"{self._label} "
        room = width - cell_len(label) - cell_len(figures) - 1
        if room < _LEAST_BAR:
            return [((label, "gauge--label"), (set_cell_size(figures, max(width - cell_len(label), 0)), ""))]
        kind = "none" if self._fraction is None else "full" if self._fraction >= self.HIGH else "bar"
        drawn = bar(self._fraction or 0.0, room, self._glyphs)
        return [((label, "gauge--label"), (f"{drawn} ", f"gauge--{kind}"), (figures, ""))]
