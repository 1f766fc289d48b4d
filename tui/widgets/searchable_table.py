"""A table to look something up in: filtered with `/`, sorted by any column with `s`, `S` or a click."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from corral.tui.filtering import matcher
from corral.tui.text import clean_line
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.keyed_table import Column, KeyedTable


@dataclass(frozen=True, slots=True)
class Line:
    """A row: texts by column, and numbers for the columns that are sorted by those."""

    key: str
    cells: Mapping[str, str]
    numbers: Mapping[str, float] = field(default_factory=dict)


class SearchableTable(Vertical):
    """Rows in their own order until somebody sorts them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "filter", show=False),
        Binding("s", "sort", "sort", show=False),
        Binding("S,shift+s", "reverse", "reverse", show=False),
        Binding("escape", "clear", "clear", show=False),
    ]
    DEFAULT_CSS = "SearchableTable { height: 1fr; }"

    def __init__(self, *, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._columns: tuple[Column, ...] = ()
        self._lines: tuple[Line, ...] = ()
        self._sorted_by = ""
        self._is_descending = False
        self._filter = ""

    def compose(self) -> ComposeResult:
        """The filter and the table."""
        yield FilterBar()
        yield KeyedTable()

    @property
    def table(self) -> KeyedTable:
        """The table itself."""
        return self.query_one(KeyedTable)

    def fill(self, columns: Sequence[Column], lines: Sequence[Line]) -> None:
        """Show these rows; filter and order hold on where the columns are the same."""
        if tuple(columns) != self._columns:
            self._columns = tuple(columns)
            self._sorted_by, self._is_descending = "", False
        self._lines = tuple(lines)
        self._draw()

    def _draw(self) -> None:
        passes = matcher(self._filter)
        kept = [line for line in self._lines if passes(" ".join(line.cells.values()))]
        if self._sorted_by:
            column = self._sorted_by
            kept.sort(key=lambda line: (line.numbers.get(column, 0.0), line.cells.get(column, "")))
            if self._is_descending:
                kept.reverse()
        self.table.set_columns(self._columns, sorted_by=self._sorted_by, is_descending=self._is_descending)
        self.table.sync(
            [(line.key, {key: Text(clean_line(cell)) for key, cell in line.cells.items()}) for line in kept]
        )

    @on(FilterBar.Changed)
    def _changed(self, event: FilterBar.Changed) -> None:
        event.stop()
        self._filter = event.line
        self._draw()

    @on(FilterBar.Left)
    def _left(self, event: FilterBar.Left) -> None:
        event.stop()
        self.table.focus()

    @on(KeyedTable.Highlighted)
    def _highlighted(self, event: KeyedTable.Highlighted) -> None:
        event.stop()

    @on(KeyedTable.Opened)
    def _opened(self, event: KeyedTable.Opened) -> None:
        event.stop()

    @on(KeyedTable.HeaderChosen)
    def _header_chosen(self, event: KeyedTable.HeaderChosen) -> None:
        event.stop()
        self._is_descending = not self._is_descending if event.column == self._sorted_by else False
        self._sorted_by = event.column
        self._draw()

    def action_find(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).open()

    def action_sort(self) -> None:
        """Sort by the next column; after the last one, not at all."""
        keys = ["", *(column.key for column in self._columns)]
        self._sorted_by = keys[(keys.index(self._sorted_by) + 1) % len(keys)]
        self._is_descending = False
        self._draw()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._is_descending = not self._is_descending
        self._draw()

    async def action_clear(self) -> None:
        """Clear the filter, else leave it to the screen."""
        bar = self.query_one(FilterBar)
        if bar.has_class("-open"):
            bar.close()
            self.table.focus()
        else:
            await self.screen.run_action("back")
