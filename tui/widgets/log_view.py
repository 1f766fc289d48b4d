"""The log: newest line at the bottom, followed or held still, filtered, searched, wrapped or cut.

Draws only what is in view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from corral.runtime.snapshot import LogLine
from corral.tui.figures import time_of_day
from corral.tui.states import LEVEL_SIGNS
from corral.tui.text import clean_line, fit
from corral.tui.widgets.repaint import StyledOnce

__all__ = ["LEVELS", "LogView", "log_text"]

LEVELS = ("debug", "info", "warning", "error")
_WORDS = {"debug": "DEBUG", "info": "INFO ", "warning": "WARN ", "error": "ERROR"}
_INDENT = 9

Passes = Callable[[LogLine], bool]


@dataclass(frozen=True, slots=True)
class _Row:
    """A row on the screen, and the line of the log that it is of."""

    text: str
    line: LogLine


def log_text(line: LogLine) -> str:
    """A line as it is shown: time, level in a sign and a word, where it comes from, what it says."""
    sign = LEVEL_SIGNS.get(line.level, (" ", ""))[0]
    word = _WORDS.get(line.level) or fit(line.level, 5, pad=True)
    return f"{time_of_day(line.wall_s)} {sign} {word} {clean_line(line.source):<7} {clean_line(line.text)}"


class LogView(StyledOnce, ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of the log. Scrolling up holds it still, the end follows again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("home,g", "scroll_home", "Top", show=False),
        Binding("end,G,shift+g", "scroll_end", "Bottom", show=False),
        Binding("pagedown,ctrl+d", "page_down", "Page down", show=False),
        Binding("pageup,ctrl+u", "page_up", "Page up", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--debug", "log--info", "log--warning", "log--error"}
    DEFAULT_CSS = """
    LogView { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: auto; }
    LogView .log--debug { color: $text-muted; }
    LogView .log--warning { color: $warning; }
    LogView .log--error { color: $error; }
    """

    class Moved(Message):
        """It follows now, or no longer."""

    def __init__(self, *, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._lines: tuple[LogLine, ...] = ()
        self._passes: Passes = lambda line: True
        self._key: object = None
        self._rows: list[_Row] = []
        self._sought = ""
        self._hits: list[int] = []
        self._hit: LogLine | None = None
        self._wraps = False
        self.follows = True
        self.shown = 0

    def show(self, lines: tuple[LogLine, ...], passes: Passes, key: object) -> None:
        """Show the lines that pass; the same ones under the same `key` (what `passes` depends on) cost nothing."""
        if lines is self._lines and key == self._key:
            return
        self._lines, self._passes, self._key = lines, passes, key
        self._lay_out()

    @property
    def found(self) -> tuple[int, int]:
        """Which of the lines that say what is looked for is chosen, from 1 (0: none), and how many there are."""
        rows = [number for number in self._hits if self._rows[number].line == self._hit]
        return (self._hits.index(rows[0]) + 1 if rows else 0), len(self._hits)

    def seek(self, words: str) -> None:
        """Mark the lines that say `words`, in any case, and go to the newest above the end of what is in view; "" ends
        that.
        """
        self._sought, self._hit = words.strip().casefold(), None
        self._look()
        if self._hits:
            end = self.scroll_offset.y + self.scrollable_content_region.height
            self._go_to(next((number for number in reversed(self._hits) if number < end), self._hits[0]))
        self.refresh()

    def step(self, by: int) -> bool:
        """Go to the next line found, or the one before; behind the last comes the first. False where there is none."""
        if not self._hits:
            return False
        place, count = self.found
        self._go_to(self._hits[(place - 1 + by) % count if place else 0 if by > 0 else -1])
        return True

    def _go_to(self, number: int) -> None:
        self._hit = self._rows[number].line
        height = self.scrollable_content_region.height
        self.follows = False
        if not self.scroll_offset.y <= number < self.scroll_offset.y + height:
            self.scroll_to(y=max(0, number - height // 2), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved())

    def _look(self) -> None:
        """Find the first rows of the lines that say what is looked for."""
        self._hits = []
        before: LogLine | None = None
        for number, row in enumerate(self._rows):
            if self._sought and row.line is not before and self._sought in log_text(row.line).casefold():
                self._hits.append(number)
            before = row.line

    def wrap(self) -> bool:
        """Wrap long lines, or cut them; returns whether they are wrapped now."""
        self._wraps = not self._wraps
        self._lay_out()
        return self._wraps

    def follow(self, *, on: bool) -> None:
        """Stay at the newest line, or hold still."""
        self.follows = on
        if on:
            self.scroll_end(animate=False)
        self.post_message(self.Moved())

    def action_scroll_end(self) -> None:
        """Go to the newest line and stay with it."""
        self.follow(on=True)

    def on_resize(self) -> None:
        """Lay out anew."""
        self._lay_out()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        chosen = [line for line in self._lines if self._passes(line)]
        self.shown = len(chosen)
        top = self._rows[self.scroll_offset.y].line if self.scroll_offset.y < len(self._rows) else None
        self._rows = [_Row(text, line) for line in chosen for text in self._folded(log_text(line), width)]
        self.virtual_size = Size(width, len(self._rows))
        self._look()
        if self.follows:
            self.scroll_end(animate=False)  # after the layout that knows the new size
        else:
            self._hold(top)
        self.refresh()

    def _hold(self, top: LogLine | None) -> None:
        """Leave the line at the top where it is: old lines go, and rows are folded otherwise."""
        number = next((number for number, row in enumerate(self._rows) if row.line == top), None)
        if number is not None and self._rows[min(self.scroll_offset.y, len(self._rows) - 1)].line != top:
            self.scroll_to(y=number, animate=False)

    def _folded(self, text: str, width: int) -> list[str]:
        if not self._wraps or width <= _INDENT + 1 or cell_len(text) <= width:
            return [text]
        first, *_ = chop_cells(text, width)
        rest = chop_cells(text[len(first) :], width - _INDENT)
        return [first, *(" " * _INDENT + one for one in rest)]

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow where the end is in view, hold still where a person went up."""
        super().watch_scroll_y(old_value, new_value)
        at_end = new_value >= self.max_scroll_y
        if self.follows != at_end and (at_end or new_value < old_value):
            self.follows = at_end
            self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width = self.scrollable_content_region.width
        number = y + self.scroll_offset.y
        if number >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row = self._rows[number]
        level = row.line.level
        style = self.get_component_rich_style(f"log--{level}") if level in LEVELS else self.rich_style
        if row.line == self._hit:
            style += Style(bold=True)
        drawn = Strip(list(self._marked(row.text, style)))
        if drawn.cell_length > width:  # half a number would be another
            drawn = Strip.join((drawn.crop(0, width - 1), Strip([Segment("…", style)])))
        return drawn.adjust_cell_length(width, self.rich_style)

    def _marked(self, text: str, style: Style) -> Iterator[Segment]:
        """The row, what is looked for in reverse."""
        low, begin = text.casefold(), 0
        if self._sought and len(low) == len(text):  # else places in one are not places in the other
            while (place := low.find(self._sought, begin)) >= 0:
                end = place + len(self._sought)
                yield Segment(text[begin:place], style)
                yield Segment(text[place:end], style + Style(reverse=True))
                begin = end
        yield Segment(text[begin:], style)
