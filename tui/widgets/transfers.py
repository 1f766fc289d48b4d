"""Pulls and creates under way: how far, how fast, how long still."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from corral.runtime.snapshot import TransferView
from corral.tui.figures import NONE, clock, size
from corral.tui.text import clean_line
from corral.tui.widgets.glyphs import Glyphs, bar
from corral.tui.widgets.keyed_table import Column, KeyedTable, Row

_WIDE = 100


def transfer_row(transfer: TransferView, *, bar_cells: int, glyphs: Glyphs) -> Row:
    """The cells of one transfer; a size nobody knows yet is no bar at all."""
    is_known = transfer.total > 0
    fraction = min(transfer.completed / transfer.total, 1.0) if is_known else 0.0
    eta = (
        (transfer.total - transfer.completed) / transfer.bytes_per_s if is_known and transfer.bytes_per_s > 0 else None
    )
    cells = {
        "name": f"↓ {clean_line(transfer.model)}",
        "bar": bar(fraction, bar_cells, glyphs) if is_known else "",
        "percent": f"{fraction * 100:.0f}%" if is_known else "",
        "bytes": f"{size(transfer.completed)}/{size(transfer.total)}" if is_known else "",
        "rate": f"{size(transfer.bytes_per_s)}B/s".replace("BB", "B") if transfer.bytes_per_s > 0 else NONE,
        "eta": clock(eta),
        "status": clean_line(transfer.status),
    }
    return {key: Text(cell, style="accent" if key == "bar" else "") for key, cell in cells.items()}


class Transfers(KeyedTable):
    """A row a transfer, keyed by its id."""

    DEFAULT_CSS = "Transfers { height: 1fr; }"

    def __init__(self, *, glyphs: Glyphs = Glyphs.BRAILLE, widget_id: str | None = None) -> None:
        super().__init__(widget_id=widget_id)
        self.show_header = False
        self._glyphs = glyphs

    def show(self, transfers: Sequence[TransferView]) -> None:
        """Show these transfers."""
        is_wide = self.size.width >= _WIDE
        bar_cells = 30 if is_wide else 14
        columns = [
            Column("name", "", 0),
            Column("bar", "", bar_cells),
            Column("percent", "", 4, is_right=True),
            Column("bytes", "", 11, is_right=True),
            Column("rate", "", 8, is_right=True),
            Column("eta", "", 5, is_right=True),
        ]
        if is_wide:
            columns.append(Column("status", "", 24))
        self.set_columns(columns)
        self.sync([(one.id, transfer_row(one, bar_cells=bar_cells, glyphs=self._glyphs)) for one in transfers])
