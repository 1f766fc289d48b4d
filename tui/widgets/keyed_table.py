"""A table fed with whole listings that touches only the cells that changed.

A string given to a `DataTable` is read as markup, so cells are `Text`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.coordinate import Coordinate
from textual.message import Message
from textual.theme import Theme
from textual.widgets import DataTable

from corral.tui.widgets.plain_rows import PlainRows

Row = Mapping[str, Text]
"""Column key to cell; a column without a cell stays blank. A cell's style may be the name of a theme colour."""

_COLOURS = ("success", "warning", "error", "accent")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of fixed `width` in cells; `width` 0 takes what the others leave, `least` at the smallest."""

    key: str
    label: str
    width: int
    is_right: bool = False
    least: int = 12


def _differ(one: Text, other: Text) -> bool:
    return one.plain != other.plain or one.spans != other.spans or one.style != other.style


class KeyedTable(PlainRows, inherit_bindings=False):
    """Rows by key, the order as given, the cursor staying on its row whatever comes and goes.

    Enter is left to the screen, whose action it is and whose footer names it; a click on the cursor's row is `Opened`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "cursor_down", "Down", show=False),
        Binding("up,k", "cursor_up", "Up", show=False),
        Binding("home,g", "scroll_top", "Top", show=False),
        Binding("end,G,shift+g", "scroll_bottom", "Bottom", show=False),
        Binding("pagedown,ctrl+d", "page_down", "Page down", show=False),
        Binding("pageup,ctrl+u", "page_up", "Page up", show=False),
    ]
    DEFAULT_CSS = """
    KeyedTable { height: 1fr; background: transparent; scrollbar-size-vertical: 1; overflow-x: hidden; }
    """

    class Highlighted(Message):
        """The cursor rests on another row; `key` is None in an empty table."""

        def __init__(self, table: KeyedTable, key: str | None) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> KeyedTable:
            """The table it happened in."""
            return self.table

    class Opened(Message):
        """A click on the row under the cursor."""

        def __init__(self, table: KeyedTable, key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> KeyedTable:
            """The table it happened in."""
            return self.table

    class HeaderChosen(Message):
        """A click on the header of a column, given by its key."""

        def __init__(self, table: KeyedTable, column: str) -> None:
            super().__init__()
            self.table = table
            self.column = column

        @property
        def control(self) -> KeyedTable:
            """The table it happened in."""
            return self.table

    moves: int = 0
    """How often somebody has put the cursor on another row. That it stays with its row as others come is no move."""
    _is_placing: bool = False

    def __init__(self, *, widget_id: str | None = None) -> None:
        super().__init__(widget_id=widget_id)
        self._layout: tuple[Column, ...] = ()
        self._sorted_by: tuple[str, bool] = ("", False)
        self._given: dict[str, Row] = {}
        self._shown: dict[str, dict[str, Text]] = {}
        self._firsts: dict[str, Text] = {}
        self._order: list[str] = []
        self._widths: tuple[int, ...] = ()
        self._palette: dict[str, Style] = {}
        self._last_highlighted: str | None = None

    @property
    def highlighted_key(self) -> str | None:
        """The key of the row under the cursor."""
        row = self.cursor_row
        return self._order[row] if 0 <= row < len(self._order) else None

    @property
    def keys_shown(self) -> tuple[str, ...]:
        """The keys, top first."""
        return tuple(self._order)

    def set_columns(self, columns: Sequence[Column], *, sorted_by: str = "", is_descending: bool = False) -> None:
        """Set the columns and which of them the order comes from (its header says so with an arrow)."""
        wanted = (tuple(columns), (sorted_by, is_descending))
        if wanted != (self._layout, self._sorted_by):
            self._layout, self._sorted_by = wanted
            self._rebuild()

    def sync(self, rows: Sequence[tuple[str, Row]]) -> None:
        """Show these rows in this order, changing only what differs."""
        cursor = self.highlighted_key
        before, wanted = self._given, dict(rows)
        self._given = wanted
        if not self._layout:
            return
        with self._placing():
            self._show(before, wanted, cursor)
        self._announce()

    def go_to(self, key: str) -> None:
        """Put the cursor on a row."""
        if key in self._order:
            with self._placing():
                self.move_cursor(row=self._order.index(key), animate=False)

    def watch_cursor_coordinate(self, old_coordinate: Coordinate, new_coordinate: Coordinate) -> None:
        """Count what somebody did."""
        super().watch_cursor_coordinate(old_coordinate, new_coordinate)
        if not self._is_placing and old_coordinate.row != new_coordinate.row:
            self.moves += 1

    @contextmanager
    def _placing(self) -> Iterator[None]:
        was_placing, self._is_placing = self._is_placing, True
        try:
            yield
        finally:
            self._is_placing = was_placing

    def _show(self, before: Mapping[str, Row], wanted: Mapping[str, Row], cursor: str | None) -> None:
        gone = [key for key in self._order if key not in wanted]
        for key in gone:
            self.remove_row(key)
            del self._shown[key], self._firsts[key]
        changed = []
        for key, cells in wanted.items():
            if key not in self._shown:
                self._append(key, cells)
            elif before.get(key) is not cells and self._update(key, cells):
                changed.append(key)
        self.show_rows(changed)
        kept = dict.fromkeys(key for key in self._order if key in wanted)
        current = [*kept, *(key for key in wanted if key not in kept)]
        self._order = list(wanted)
        if current != self._order:
            ranks = {id(self._firsts[key]): rank for rank, key in enumerate(self._order)}
            self.sort(self._layout[0].key, key=lambda cell: ranks[id(cell)])
        if cursor is not None and self.highlighted_key != cursor:
            self.go_to(cursor)

    def _append(self, key: str, cells: Row) -> None:
        # The sort tells rows apart by the identity of their first cell, so each has its own.
        self._shown[key] = {column.key: cells.get(column.key, Text()) for column in self._layout}
        fitted = [self._fitted(column, self._shown[key][column.key].copy()) for column in self._layout]
        self._firsts[key] = fitted[0]
        self.add_row(*fitted, key=key)

    def _update(self, key: str, cells: Row) -> bool:
        """Put the cells that differ; False where none does."""
        shown, has_changed = self._shown[key], False
        for column in self._layout:
            cell = cells.get(column.key, Text())
            if _differ(cell, shown[column.key]):
                shown[column.key] = cell
                fitted = self._fitted(column, cell.copy())
                if column is self._layout[0]:
                    self._firsts[key] = fitted
                self.put_cell(key, column.key, fitted)
                has_changed = True
        return has_changed

    def _fitted(self, column: Column, cell: Text) -> Text:
        cell.style = self._palette.get(str(cell.style), cell.style)
        fitted = cell if column.is_right else Text.assemble(" ", cell)
        fitted.no_wrap = True
        fitted.overflow = "ellipsis"
        fitted.justify = "right" if column.is_right else "left"
        return fitted

    def _available(self) -> tuple[int, ...]:
        """Widths of all columns for the size the table has."""
        fixed = sum(column.width for column in self._layout) + len(self._layout)
        free = self.size.width - fixed - self.styles.scrollbar_size_vertical
        return tuple(column.width or max(column.least, free) for column in self._layout)

    def _rebuild(self) -> None:
        with self._placing():
            self._build()

    def _build(self) -> None:
        cursor = self.highlighted_key
        self.clear(columns=True)
        self._shown.clear()
        self._firsts.clear()
        self._order = list(self._given)
        self._widths = self._available()
        for column, width in zip(self._layout, self._widths, strict=True):
            arrow = ("▼" if self._sorted_by[1] else "▲") if column.key == self._sorted_by[0] else ""
            label = Text(f"{column.label}{arrow}", style="reverse" if arrow else "")
            self.add_column(self._fitted(column, label), width=width + 1, key=column.key)
        for key, cells in self._given.items():
            self._append(key, cells)
        if cursor is not None:
            self.go_to(cursor)

    def on_mount(self) -> None:
        """Take the colours of the theme, now and whenever there is another."""
        self.app.theme_changed_signal.subscribe(self, self._take_colours)
        self._take_colours(self.app.current_theme)

    def _take_colours(self, theme: Theme) -> None:
        found = {name: self.app.theme_variables.get(name, "") for name in _COLOURS}
        self._palette = {name: Style(color=Color.parse(value).rich_color) for name, value in found.items() if value}
        self._rebuild()

    def on_resize(self, event: events.Resize) -> None:
        """Give the flexible column what is left."""
        if self._layout and self._available() != self._widths:
            self._rebuild()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Turn the row into its key."""
        event.stop()
        self._announce()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Turn the row into its key."""
        event.stop()
        if event.row_key.value is not None:
            self.post_message(self.Opened(self, event.row_key.value))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Turn the column into its key."""
        event.stop()
        if event.column_key.value is not None:
            self.post_message(self.HeaderChosen(self, event.column_key.value))

    def _announce(self) -> None:
        key = self.highlighted_key
        if key != self._last_highlighted:
            self._last_highlighted = key
            self.post_message(self.Highlighted(self, key))
