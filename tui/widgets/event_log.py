"""What happened and why, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from corral.runtime.snapshot import EventView
from corral.tui.figures import time_of_day
from corral.tui.states import LEVEL_SIGNS
from corral.tui.text import clean_line
from corral.tui.widgets.keyed_table import Column, KeyedTable, Row

_COLUMNS = (Column("time", "", 8), Column("level", "", 1), Column("kind", "", 6), Column("text", "", 0))
_SHOWN = 200


def event_row(event: EventView) -> Row:
    """The cells of one event; a warning and an error have a sign, not only a colour."""
    sign, style = LEVEL_SIGNS.get(event.level, ("·", ""))
    return {
        "time": Text(time_of_day(event.wall_s), style="dim"),
        "level": Text(sign, style=style),
        "kind": Text(clean_line(event.kind), style=style),
        "text": Text(clean_line(event.text), style=style),
    }


class EventLog(KeyedTable):
    """A line an event."""

    DEFAULT_CSS = """
    EventLog { height: 1fr; }
    EventLog:blur > .datatable--cursor { background: transparent; color: $foreground; }
    """

    def __init__(self, *, widget_id: str | None = None) -> None:
        super().__init__(widget_id=widget_id)
        self.show_header = False
        self._events: Sequence[EventView] = ()

    def on_mount(self) -> None:
        """Set the columns."""
        self.set_columns(_COLUMNS)

    def show(self, events: Sequence[EventView], passes: Callable[[EventView], bool] = lambda event: True) -> None:
        """Show these events, newest first; the same ones again cost nothing."""
        wanted = [event for event in events if passes(event)][:_SHOWN]
        if wanted == self._events:
            return
        self._events = wanted
        rows: list[tuple[str, Row]] = []
        repeats: dict[EventView, int] = {}
        for event in reversed(wanted):  # counted from the oldest, so that a new one renames none
            number = repeats[event] = repeats.get(event, 0) + 1
            rows.append((f"{event.wall_s}|{number}|{event.kind}|{event.text}", event_row(event)))
        is_at_top = self.cursor_row == 0
        self.sync(rows[::-1])
        if is_at_top and rows:
            self.move_cursor(row=0, animate=False)
