"""A history graph with a fixed scale, axis labels, unit and peak.

Drawn line by line with one style a row: a frame costs a tenth of what a widget coloured cell by cell sends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from corral.tui.figures import count
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.repaint import StyledOnce

_LEFT = (0x00, 0x40, 0x44, 0x46, 0x47)
_RIGHT = (0x00, 0x80, 0xA0, 0xB0, 0xB8)
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " :#"


def ceiling(peak: float, least: float = 10.0) -> float:
    """The next round number (1, 2 or 5 times a power of ten) at or above `peak`: a scale that seldom moves."""
    if peak <= least:
        return least
    power = 10.0 ** math.floor(math.log10(peak))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= peak)


def samples_per_cell(glyphs: Glyphs) -> int:
    """How many samples one character holds side by side."""
    return 2 if glyphs is Glyphs.BRAILLE else 1


def _levels(values: Sequence[float | None], maximum: float, steps: int) -> list[int]:
    def level(value: float | None) -> int:
        if value is None or value <= 0 or maximum <= 0:
            return 0
        return min(steps, max(1, round(value / maximum * steps)))

    return [level(value) for value in values]


def plot(values: Sequence[float | None], *, width: int, height: int, maximum: float, glyphs: Glyphs) -> list[str]:
    """Rows of characters, top first, the newest sample at the right edge; None leaves a gap."""
    if width <= 0 or height <= 0:
        return []
    per_row = {Glyphs.BRAILLE: 4, Glyphs.BLOCK: 8, Glyphs.ASCII: 2}[glyphs]
    wanted = width * samples_per_cell(glyphs)
    newest = list(values[-wanted:])
    levels = _levels([None] * (wanted - len(newest)) + newest, maximum, per_row * height)
    rows = []
    for row in range(height):
        floor = (height - 1 - row) * per_row
        heights = [min(max(level - floor, 0), per_row) for level in levels]
        if glyphs is Glyphs.BRAILLE:
            pairs = zip(heights[::2], heights[1::2], strict=True)
            rows.append("".join(chr(0x2800 + _LEFT[a] + _RIGHT[b]) if a or b else " " for a, b in pairs))
        else:
            characters = _BLOCKS if glyphs is Glyphs.BLOCK else _ASCII
            rows.append("".join(characters[one] for one in heights))
    return rows


def spark(values: Sequence[float | None], cells: int, glyphs: Glyphs) -> str:
    """A line of the newest values, from nothing to the round number above their peak."""
    seen = [value for value in values[-cells * samples_per_cell(glyphs) :] if value]
    lines = plot(values, width=cells, height=1, maximum=ceiling(max(seen, default=0.0), 1.0), glyphs=glyphs)
    return lines[0] if lines else ""


class HistoryGraph(StyledOnce, Widget):
    """Samples of one figure, one a second, against a scale from nothing to `maximum`.

    `maximum` None lets the scale grow in round steps with the highest sample in view. The last line says how far
    back the graph goes, the newest sample and the peak in view.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"graph--axis", "graph--caption", "graph--low", "graph--high"}
    DEFAULT_CSS = """
    HistoryGraph { height: 1fr; }
    HistoryGraph .graph--axis { color: $text-muted; }
    HistoryGraph .graph--caption { color: $text-muted; }
    HistoryGraph .graph--low { color: $accent; }
    HistoryGraph .graph--high { color: $warning; }
    """

    def __init__(
        self,
        *,
        unit: str,
        maximum: float | None = 100.0,
        glyphs: Glyphs = Glyphs.BRAILLE,
        name: str = "",
        widget_id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`name` stands before the figures, where a graph is not alone in its panel."""
        super().__init__(name=name, id=widget_id, classes=classes)
        self._unit = unit
        self._maximum = maximum
        self._glyphs = glyphs
        self._values: tuple[float | None, ...] = ()
        self._note = ""
        self._drawn: tuple[Size, list[tuple[str, str]]] | None = None

    def show(self, values: Sequence[float | None], note: str = "") -> None:
        """Draw these samples, oldest first; `note` goes into the last line where there is room."""
        if tuple(values) != self._values or note != self._note:
            self._values = tuple(values)
            self._note = note
            self._drawn = None
            self.refresh()

    def use(self, glyphs: Glyphs) -> None:
        """Draw with another set of characters."""
        self._glyphs = glyphs
        self._drawn = None
        self.refresh()

    def _figure(self, value: float | None) -> str:
        return "n/a" if value is None else f"{count(value)} {self._unit}"

    def _in_view(self, cells: int) -> list[float]:
        return [value for value in self._values[-cells * samples_per_cell(self._glyphs) :] if value is not None]

    def _scale(self, seen: list[float]) -> float:
        return self._maximum if self._maximum is not None else ceiling(max(seen, default=0.0))

    def _caption(self, cells: int, indent: int) -> str:
        seen = self._in_view(cells)
        newest = self._figure(self._values[-1] if self._values else None)
        right = f"{self.name or 'now'} {newest}  peak {self._figure(max(seen, default=None))}"
        left = " " * indent + f"{cells * samples_per_cell(self._glyphs)} s ago"
        room = indent + cells - len(left) - len(right)
        if room < 1:
            return right[: indent + cells].rjust(indent + cells)
        middle = self._note if len(self._note) + 2 <= room else ""
        return left + middle.center(room) + right

    def _rows(self, width: int, height: int) -> list[tuple[str, str]]:
        """All rows, each an axis and what stands beside it, the figures last; none where there is no room."""
        rows = height - 1 if height > 1 else height
        top = count(self._scale(self._in_view(width)))
        indent = len(top) + 1
        cells = max(width - indent, 0)
        if not cells or not rows:
            return []
        scale = self._scale(self._in_view(cells))
        lines = plot(self._values, width=cells, height=rows, maximum=scale, glyphs=self._glyphs)
        edge = "|" if self._glyphs is Glyphs.ASCII else "▏"
        labels = [top, *([""] * (rows - 2)), *(["0"] if rows > 1 else [])]
        drawn = [(label.rjust(indent - 1) + edge, line) for label, line in zip(labels, lines, strict=True)]
        return [*drawn, (self._caption(cells, indent), "")] if height > 1 else drawn

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        size = self.content_size
        if self._drawn is None or self._drawn[0] != size:
            self._drawn = (size, self._rows(*size))
        rows = self._drawn[1]
        if y >= len(rows):
            return Strip.blank(size.width, self.rich_style)
        left, right = rows[y]
        if size.height > 1 and y == size.height - 1:
            caption = Segment(left, self.get_component_rich_style("graph--caption"))
            return Strip([caption]).adjust_cell_length(size.width)
        is_high = self._maximum is not None and size.height >= 4 and y < (size.height - 1) / 4
        return Strip(
            [
                Segment(left, self.get_component_rich_style("graph--axis")),
                Segment(right, self.get_component_rich_style("graph--high" if is_high else "graph--low")),
            ]
        ).adjust_cell_length(size.width, self.rich_style)
