"""Widgets that say what stands in each of their rows, and are drawn again only where that is something else.

Figures that come every second leave most of a graph, a legend or a bar as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from corral.tui.text import fit
from corral.tui.widgets.repaint import StyledOnce

__all__ = ["DrawnRow", "DrawnRows", "Lines"]

DrawnRow = tuple[tuple[str, str], ...]
"""A row as stretches: a text and the component class of its style, "" for the widget's own."""


class DrawnRows(StyledOnce, Widget):
    """Subclasses say what stands in the rows and call `draw_rows` whenever that may have changed."""

    _drawn: tuple[Size, tuple[DrawnRow, ...]] | None = None

    def rows_for(self, width: int, height: int) -> Sequence[DrawnRow]:
        """What stands in the rows of so much room; those that are missing stay empty."""
        raise NotImplementedError

    def draw_rows(self) -> None:
        """Have those rows drawn that say something else than before."""
        size, before = self.content_size, self._drawn
        self._drawn = (size, tuple(self.rows_for(*size)))
        if before is None or before[0] != size:
            self.refresh()
            return
        old, new = before[1], self._drawn[1]
        changed = [y for y in range(max(len(old), len(new))) if old[y : y + 1] != new[y : y + 1]]
        if changed:
            self.refresh(*(Region(0, y, size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        size = self.content_size
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = (size, tuple(self.rows_for(*size)))
        rows = self._drawn[1]
        row = rows[y] if y < len(rows) else ()
        segments = [
            Segment(text, self.get_component_rich_style(name) if name else self.rich_style)
            for text, name in row
            if text
        ]
        return Strip(segments).adjust_cell_length(size.width, self.rich_style)


class Lines(DrawnRows):
    """Lines of text from outside or not, each cut where there is no room for it."""

    def __init__(self, *, widget_id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=widget_id, classes=classes)
        self._lines: tuple[str, ...] = ()

    def show(self, *lines: str) -> None:
        """Show these lines."""
        if lines != self._lines:
            self._lines = lines
            self.draw_rows()

    def rows_for(self, width: int, height: int) -> Sequence[DrawnRow]:
        """The lines there is room for."""
        return [((fit(line, width), ""),) for line in self._lines[:height]]
