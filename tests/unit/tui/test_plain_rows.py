"""Rows are drawn by ourselves, cell for cell as `DataTable` would."""

from __future__ import annotations

import pytest
from rich.segment import Segment
from rich.text import Text
from textual.app import App, ComposeResult
from textual.coordinate import Coordinate
from textual.strip import Strip
from textual.widgets import DataTable

from corral.tui.widgets.keyed_table import Column, KeyedTable
from tests.fakes.screen import until

COLUMNS = (
    Column("name", "NAME", 0, least=8),
    Column("text", "TEXT", 9),
    Column("number", "NUMBER", 7, is_right=True),
)


def _cells(text: str, style: str = "") -> dict[str, Text]:
    marked = Text(text, style=style)
    marked.append("!", style="bold")
    return {"name": Text(text), "text": marked, "number": Text(text, style=style)}


ROWS = [
    ("plain", _cells("abc")),
    ("long", _cells("no room for so many words", "warning")),
    ("wide", _cells("漢字かな交じり文です", "error")),
    ("none", {}),
    ("coloured", _cells("x", "dim")),
]


class Tables(App[None]):
    """A table."""

    def compose(self) -> ComposeResult:
        yield KeyedTable()


def _seen(strip: Strip) -> list[Segment]:
    return [*strip.simplify()]


@pytest.mark.parametrize("width", [60, 31, 20])
async def test_rows_look_as_those_of_a_data_table(width: int) -> None:
    app = Tables()
    async with app.run_test(size=(width, 12)) as pilot:
        table = app.query_one(KeyedTable)
        table.set_columns(COLUMNS, sorted_by="number", is_descending=True)
        table.sync(ROWS)
        await until(pilot, lambda: table.row_count == len(ROWS))
        for cursor, hover in ((0, 3), (2, 2), (4, -1)):
            table.move_cursor(row=cursor, animate=False)
            table.hover_coordinate = Coordinate(hover, 1)
            await pilot.pause()
            for y in range(len(ROWS) + 2):
                assert _seen(table.render_line(y)) == _seen(DataTable.render_line(table, y)), y


async def test_a_cell_that_changes_is_seen_at_once_and_its_row_alone_is_painted() -> None:
    app = Tables()
    async with app.run_test(size=(60, 12)) as pilot:
        table = app.query_one(KeyedTable)
        table.set_columns(COLUMNS)
        table.sync(ROWS)
        await until(pilot, lambda: "abc" in table.render_line(1).text)
        await pilot.pause()
        table.sync([("plain", _cells("news")), *ROWS[1:]])
        assert {region.y for region in table._repaint_regions} == {1}
        await until(pilot, lambda: "news" in table.render_line(1).text)
