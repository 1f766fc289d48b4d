"""Rows of one line each, drawn again only where a cell is another.

`DataTable` draws all of its rows for any cell that changes, each cell as if it might be a document.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widgets import DataTable
from textual.widgets.data_table import ColumnKey, RowKey

from corral.tui.widgets.repaint import StyledOnce

__all__ = ["PlainRows"]

_HEADER = -1


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A row as it was drawn: under what circumstances, from which cells, each cell's segments, all of it."""

    key: tuple[object, ...]
    cells: list[Text]
    parts: list[list[Segment]]
    strip: Strip


class PlainRows(StyledOnce, DataTable[Text], inherit_bindings=False):
    """A table whose cells are texts that know how they are cut and to which side they stand."""

    def __init__(self, *, widget_id: str | None = None) -> None:
        self._strips: dict[int, _Drawn] = {}
        super().__init__(id=widget_id, cursor_type="row", zebra_stripes=False, cell_padding=0)

    def put_cell(self, row: str, column: str, cell: Text) -> None:
        """Put a cell where one is. It is seen once `show_rows` is told of its row."""
        self._data[RowKey(row)][ColumnKey(column)] = cell

    def show_rows(self, rows: Collection[str]) -> None:
        """Draw these rows again, those of them that are in view."""
        width, height = self.size
        first = int(self.show_header)
        places = (self._row_locations.get(RowKey(row)) for row in rows)
        lines = [first + place - self.scroll_offset.y for place in places if place is not None]
        if regions := [Region(0, line, width, 1) for line in lines if first <= line < height]:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        """Draw a row, or take it as it was drawn."""
        width = self.size.width
        row = _HEADER if self.show_header and y == 0 else y - int(self.show_header) + self.scroll_offset.y
        if row >= self.row_count:
            return Strip.blank(width, self.rich_style)
        cells = self._cells_of(row)
        is_cursor, is_hover = row == self.cursor_coordinate.row, row == self.hover_coordinate.row
        pointing = (is_cursor, is_hover, self.show_cursor, self._show_hover_cursor, self._pseudo_class_state)
        key = (width, self.scroll_offset.x, self.rich_style, *pointing)
        known = self._strips.get(row)
        if known is not None and (known.key != key or len(known.cells) != len(cells)):
            known = None
        if known is None or not _are_same(known.cells, cells):
            parts = self._draw_row(row, cells, known, is_cursor=is_cursor, is_hover=is_hover)
            known = self._strips[row] = _Drawn(key, cells, parts, self._put_together(parts))
        return known.strip

    def _cells_of(self, row: int) -> list[Text]:
        if row == _HEADER:
            return [column.label for column in self.ordered_columns]
        key = self._row_locations.get_key(row)
        assert key is not None, "what is drawn is there"
        return list(self._data[key].values())

    def _draw_row(
        self, row: int, cells: list[Text], before: _Drawn | None, *, is_cursor: bool, is_hover: bool
    ) -> list[list[Segment]]:
        """The segments of each cell and of what is left of the row; those of `before` where the cell is the same."""
        pointed, after = self._get_styles_to_render_cell(
            row == _HEADER,
            False,
            False,
            is_hover,
            is_cursor,
            self.show_cursor,
            self._show_hover_cursor,
            self.cursor_foreground_priority == "css",
            self.cursor_background_priority == "css",
        )
        base = self.get_component_rich_style("datatable--header") if row == _HEADER else self.rich_style
        drawn = []
        room = self.size.width
        for number, (column, cell) in enumerate(zip(self.ordered_columns, cells, strict=True)):
            width = column.get_render_width(self)
            room -= width
            if before is not None and before.cells[number] is cell:
                drawn.append(before.parts[number])
            else:
                drawn.append(self._draw_cell(cell, width, base + _meta(row, number) + pointed, after))
        if room > 0:
            drawn.append([Segment(" " * room, base + pointed + _meta(row, 0, out_of_bounds=True))])
        return drawn

    def _put_together(self, parts: list[list[Segment]]) -> Strip:
        strip = Strip(chain.from_iterable(parts))
        start, width = self.scroll_offset.x, self.size.width
        return strip.crop(start, start + width) if start or strip.cell_length > width else strip

    def _draw_cell(self, cell: Text, width: int, style: Style, after: Style) -> list[Segment]:
        line = cell.copy()
        line.rstrip_end(width)
        line.truncate(width, overflow="ellipsis")
        missing = width - line.cell_len
        if cell.justify == "right":
            line.pad_left(missing)
        else:
            line.pad_right(missing)
        if not line.spans and not line.style:
            return list(Segment.apply_style([Segment(line.plain)], style, after))
        # A text's own style counts only where it is part of another.
        return list(Segment.apply_style(Text.assemble(line).render(self.app.console), style, after))

    def _clear_caches(self) -> None:
        super()._clear_caches()
        self._strips.clear()

    def notify_style_update(self) -> None:
        """Draw anew in other colours."""
        super().notify_style_update()
        self._strips.clear()


def _are_same(cells: list[Text], others: list[Text]) -> bool:
    return len(cells) == len(others) and all(one is other for one, other in zip(cells, others, strict=True))


@lru_cache(maxsize=4096)
def _meta(row: int, column: int, *, out_of_bounds: bool = False) -> Style:
    """What tells the mouse where it is."""
    more = {"out_of_bounds": True} if out_of_bounds else {}
    return Style.from_meta({"row": row, "column": column, **more})
