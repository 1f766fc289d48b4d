"""A history graph with a fixed scale, axis labels, unit and peak.

One style a row: a frame costs a tenth of what a widget coloured cell by cell sends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from corral.tui.figures import count
from corral.tui.widgets.drawn_rows import DrawnRow, DrawnRows
from corral.tui.widgets.glyphs import Glyphs

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
    if maximum <= 0:
        return [0] * len(values)
    return [min(steps, max(1, round(one / maximum * steps))) if one and one > 0 else 0 for one in values]


def plot(values: Sequence[float | None], *, width: int, height: int, maximum: float, glyphs: Glyphs) -> list[str]:
    """Rows of characters, top first, the newest sample at the right edge; None leaves a gap."""
    if width <= 0 or height <= 0:
        return []
    per_row = {Glyphs.BRAILLE: 4, Glyphs.BLOCK: 8, Glyphs.ASCII: 2}[glyphs]
    wanted = width * samples_per_cell(glyphs)
    levels = _levels(values[-wanted:], maximum, per_row * height)
    levels = [0] * (wanted - len(levels)) + levels
    highest = max(levels)
    rows = []
    for row in range(height):
        floor = (height - 1 - row) * per_row
        if highest <= floor:
            rows.append(" " * width)
            continue
        heights = [min(max(level - floor, 0), per_row) for level in levels]
        if glyphs is Glyphs.BRAILLE:
            pairs = zip(heights[::2], heights[1::2], strict=True)
            rows.append("".join(chr(0x2800 + _LEFT[a] + _RIGHT[b]) if a or b else " " for a, b in pairs))
        else:
            characters = _BLOCKS if glyphs is Glyphs.BLOCK else _ASCII
            rows.append("".join(characters[one] for one in heights))
    return rows


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def spark(values: Sequence[float | None], cells: int, glyphs: Glyphs) -> str:
    """A line of the newest values, from nothing to the round number above their peak."""
    seen = [value for value in values[-cells * samples_per_cell(glyphs) :] if value]
    lines = plot(values, width=cells, height=1, maximum=ceiling(max(seen, default=0.0), 1.0), glyphs=glyphs)
    return lines[0] if lines else ""


class HistoryGraph(DrawnRows):
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
        self._newest: Callable[[int], Sequence[float | None]] = lambda most: ()

    def show(self, values: Sequence[float | None]) -> None:
        """Draw these samples, oldest first."""
        self.show_newest(lambda most: values[-most:])

    def show_newest(self, newest: Callable[[int], Sequence[float | None]]) -> None:
        """Draw what `newest` gives, oldest first, when it is asked for as many samples as are in view."""
        self._newest = newest
        self.draw_rows()

    def use(self, glyphs: Glyphs) -> None:
        """Draw with another set of characters."""
        self._glyphs = glyphs
        self.draw_rows()

    def _figure(self, value: float | None) -> str:
        return "n/a" if value is None else f"{count(value)} {self._unit}"

    def _scale(self, values: Sequence[float | None]) -> float:
        return self._maximum if self._maximum is not None else ceiling(max(_known(values), default=0.0))

    def _caption(self, values: Sequence[float | None], cells: int, indent: int) -> str:
        newest = self._figure(values[-1] if values else None)
        right = f"{self.name or 'now'} {newest}  peak {self._figure(max(_known(values), default=None))}"
        left = " " * indent + f"{cells * samples_per_cell(self._glyphs)} s ago"
        room = indent + cells - len(left) - len(right)
        return f"{left}{' ' * room}{right}" if room > 0 else right[: indent + cells].rjust(indent + cells)

    def rows_for(self, width: int, height: int) -> Sequence[DrawnRow]:
        """All rows, each an axis and what stands beside it, the figures last; none where there is no room."""
        rows = height - 1 if height > 1 else height
        per_cell = samples_per_cell(self._glyphs)
        if width <= 0 or not rows:
            return []
        values = self._newest(width * per_cell)
        top = count(self._scale(values))
        indent = len(top) + 1
        cells = width - indent
        if cells <= 0:
            return []
        values = values[-cells * per_cell :]
        lines = plot(values, width=cells, height=rows, maximum=self._scale(values), glyphs=self._glyphs)
        edge = "|" if self._glyphs is Glyphs.ASCII else "▏"
        labels = [top, *([""] * (rows - 2)), *(["0"] if rows > 1 else [])]
        drawn: list[DrawnRow] = []
        for y, (label, line) in enumerate(zip(labels, lines, strict=True)):
            is_high = self._maximum is not None and height >= 4 and y < (height - 1) / 4
            style = "graph--high" if is_high else "graph--low"
            drawn.append(((label.rjust(indent - 1) + edge, "graph--axis"), (line, style)))
        if height > 1:
            drawn.append(((self._caption(values, cells, indent), "graph--caption"),))
        return drawn
