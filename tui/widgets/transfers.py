"""Long jobs under way, as a whole and by part, and pulls that were left: how far, how fast, how long still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType

from corral.runtime.snapshot import TransferView
from corral.runtime.upkeep import UnfinishedPull
from corral.tui.actions import Where, bindings_for
from corral.tui.figures import NONE, age, clock, size
from corral.tui.states import TRANSFER_SIGNS
from corral.tui.text import clean_line
from corral.tui.widgets.glyphs import Glyphs, bar
from corral.tui.widgets.keyed_table import Column, KeyedTable, Row

_WIDE = 100
_LEFT = "left:"
"""Begins the keys of pulls that were left; ids of transfers are hexadecimal."""
_PART = "/part"
"""Ends the keys of rows about the part that a transfer is at."""


def _cells(name: str, completed: int, total: int, *, bar_cells: int, glyphs: Glyphs) -> dict[str, str]:
    """What both kinds of row say; a size nobody knows yet is no bar at all."""
    is_known = total > 0
    fraction = min(completed / total, 1.0) if is_known else 0.0
    return {
        "name": clean_line(name),
        "bar": bar(fraction, bar_cells, glyphs) if is_known else "",
        "percent": f"{fraction * 100:.0f}%" if is_known else "",
        "bytes": f"{size(completed)}/{size(total)}" if is_known else "",
    }


def _row(cells: dict[str, str]) -> Row:
    return {key: Text(cell, style="accent" if key == "bar" else "") for key, cell in cells.items()}


def transfer_row(transfer: TransferView, *, bar_cells: int, glyphs: Glyphs) -> Row:
    """The cells of one transfer."""
    name = f"{TRANSFER_SIGNS.get(transfer.kind, '·')} {transfer.model}"
    cells = _cells(name, transfer.completed, transfer.total, bar_cells=bar_cells, glyphs=glyphs)
    pace = _pace(transfer.total - transfer.completed if transfer.total > 0 else None, transfer.bytes_per_s)
    return _row(cells | pace | {"status": clean_line(transfer.status)})


def part_row(transfer: TransferView, *, bar_cells: int, glyphs: Glyphs) -> Row:
    """The cells of the part that a transfer is at: one comes after the other, so its speed is the transfer's."""
    name = f"  part {transfer.part}/{transfer.parts} {transfer.status}"
    cells = _cells(name, transfer.part_completed, transfer.part_total, bar_cells=bar_cells, glyphs=glyphs)
    return _row(cells | _pace(transfer.part_total - transfer.part_completed, transfer.bytes_per_s) | {"status": ""})


def _pace(left: int | None, rate: float) -> dict[str, str]:
    """How fast, and how long still for so many bytes."""
    return {
        "rate": f"{size(rate)}B/s".replace("BB", "B") if rate > 0 else NONE,
        "eta": clock(left / rate if left is not None and rate > 0 else None),
    }


def _rows(transfers: Sequence[TransferView], *, bar_cells: int, glyphs: Glyphs) -> Iterator[tuple[str, Row]]:
    for one in transfers:
        yield one.id, transfer_row(one, bar_cells=bar_cells, glyphs=glyphs)
        if one.parts > 1:
            yield one.id + _PART, part_row(one, bar_cells=bar_cells, glyphs=glyphs)


def unfinished_row(pull: UnfinishedPull, *, bar_cells: int, glyphs: Glyphs, now: datetime) -> Row:
    """The cells of a pull that was left."""
    since = age(datetime.fromtimestamp(pull.since_s, UTC), now)
    cells = _cells(f"◔ {pull.model}", pull.completed, pull.total, bar_cells=bar_cells, glyphs=glyphs)
    return _row(cells | {"rate": "partial", "eta": since, "status": f"r resumes it, d drops it · {since} old"})


class Transfers(KeyedTable):
    """A row a transfer, keyed by its id, one for the part it is at, and a row a pull that was left."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(Where.TRANSFERS)]
    DEFAULT_CSS = "Transfers { height: 1fr; }"

    def __init__(self, *, glyphs: Glyphs = Glyphs.BRAILLE, widget_id: str | None = None) -> None:
        super().__init__(widget_id=widget_id)
        self.show_header = False
        self._glyphs = glyphs

    @property
    def transfer_id(self) -> str | None:
        """The transfer under the cursor."""
        key = self.highlighted_key
        return None if key is None or key.startswith(_LEFT) else key.removesuffix(_PART)

    @property
    def unfinished_model(self) -> str | None:
        """What the pull under the cursor that was left had been asked for."""
        key = self.highlighted_key
        return key.removeprefix(_LEFT) if key is not None and key.startswith(_LEFT) else None

    def show(self, transfers: Sequence[TransferView], unfinished: Sequence[UnfinishedPull], now: datetime) -> None:
        """Show these."""
        is_wide = self.size.width >= _WIDE
        bar_cells = 24 if is_wide else 14
        columns = [
            Column("name", "", 0),
            Column("bar", "", bar_cells),
            Column("percent", "", 4, is_right=True),
            Column("bytes", "", 11, is_right=True),
            Column("rate", "", 8, is_right=True),
            Column("eta", "", 5, is_right=True),
        ]
        if is_wide:
            columns.append(Column("status", "", 36 if unfinished else 24))
        self.set_columns(columns)
        rows = list(_rows(transfers, bar_cells=bar_cells, glyphs=self._glyphs))
        rows += [
            (_LEFT + one.model, unfinished_row(one, bar_cells=bar_cells, glyphs=self._glyphs, now=now))
            for one in unfinished
        ]
        self.sync(rows)
