"""Server: who asks what over the API, how it went, and what the service says of itself."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from corral.runtime.snapshot import EMPTY, EventView, RequestView, Snapshot
from corral.tui.actions import Where
from corral.tui.curl import base_url, curl_command
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.screens.calling import CallingScreen
from corral.tui.states import is_error
from corral.tui.text import fit
from corral.tui.widgets import request_table
from corral.tui.widgets.event_log import EventLog
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.keyed_table import KeyedTable
from corral.tui.widgets.panel import Panel

__all__ = ["ServerScreen"]

_RATE_WINDOW_S = 10.0


def _is_bad(event: EventView) -> bool:
    return event.level in ("warning", "error")


class ServerScreen(CallingScreen):
    """Requests above, events below them, listener and clients at the bottom."""

    WHERE: ClassVar[Where] = Where.SERVER
    AUTO_FOCUS = "#requests"
    DEFAULT_CSS = """
    #requests-panel { height: 2fr; }
    #requests-empty { height: 1fr; content-align: center middle; text-align: center; display: none; }
    #requests-panel.-none KeyedTable { height: 1; }
    #requests-panel.-none #requests-empty { display: block; }
    #log-panel { height: 1fr; }
    #server-bottom { height: 6; layout: horizontal; }
    #server-bottom Panel { width: 1fr; }
    ServerScreen.-medium #server-bottom, ServerScreen.-short #server-bottom { height: 5; }
    ServerScreen.-short #log-panel { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Snapshot = EMPTY
        self._filter_line = ""
        self._errors_only = False
        self._follows = True

    def compose_body(self) -> ComposeResult:
        """Three bands, one below the other."""
        with Panel("Requests", widget_id="requests-panel"):
            yield FilterBar()
            yield KeyedTable(widget_id="requests")
            yield Static("", id="requests-empty", markup=False)
        with Panel("Events", widget_id="log-panel"):
            yield EventLog()
        with Horizontal(id="server-bottom"):
            with Panel("Listener", widget_id="listener-panel"):
                yield Static("", id="listener", markup=False)
            with Panel("Clients", widget_id="clients-panel"):
                yield Static("", id="clients", markup=False)

    @property
    def table(self) -> KeyedTable:
        """The requests."""
        return self.query_one("#requests", KeyedTable)

    @property
    def highlighted(self) -> RequestView | None:
        """The request under the cursor."""
        key = self.table.highlighted_key
        return next((one for one in self._snapshot.requests if one.id == key), None)

    def on_mount(self) -> None:
        """Start on the requests."""
        self.table.focus()

    def on_resize(self) -> None:
        """Choose the columns anew."""
        self.call_after_refresh(self._draw)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw what changed."""
        self._snapshot = snapshot
        self._draw()

    def _draw(self) -> None:
        snapshot = self._snapshot
        shown = request_table.chosen(snapshot.requests, self._filter_line, errors_only=self._errors_only)
        table = self.table
        table.set_columns(request_table.columns(self.size.width - 4))
        table.sync([(one.id, request_table.row(one)) for one in shown])
        if self._follows and shown and table.highlighted_key != shown[0].id:
            table.go_to(shown[0].id)
        self._draw_frame(len(shown))
        passes = _is_bad if self._errors_only else lambda event: True
        self.query_one(EventLog).show(snapshot.events, passes)
        self._draw_bottom()

    def _draw_frame(self, shown: int) -> None:
        snapshot = self._snapshot
        errors = sum(is_error(one) for one in snapshot.requests)
        recent = sum(snapshot.at_s - one.started_s <= _RATE_WINDOW_S for one in snapshot.requests)
        running = sum(request_table.is_in_flight(one) for one in snapshot.requests)
        notes = [f"{running} running", f"{recent / _RATE_WINDOW_S:.1f}/s", f"errors {errors}"]
        notes += [f"/{self._filter_line}"] if self._filter_line else []
        notes += ["errors only"] if self._errors_only else []
        panel = self.query_one("#requests-panel", Panel)
        panel.set_class(shown == 0, "-none")
        panel.entitle(f"Requests · {' · '.join(notes)}", self._subtitle())
        self.write("#requests-empty", self._empty_text())
        self.query_one("#log-panel", Panel).entitle("Events · warnings and errors" if self._errors_only else "Events")

    def _subtitle(self) -> str:
        request = self.highlighted
        reason = request_table.why(request) if request is not None else ""
        return " · ".join(one for one in (fit(reason, 60), "follow ●" if self._follows else "follow ○") if one)

    def _empty_text(self) -> str:
        if self._snapshot.requests:
            return "No request passes.\n\nEsc clears the filter, ! shows more than errors"
        serving = self._snapshot.serving
        return (
            f"No request yet.\n\ncurl {fit(base_url(serving), 60)}/api/tags"
            if serving
            else "No request yet: nothing listens."
        )

    def _draw_bottom(self) -> None:
        host = self._snapshot.host
        self.write("#listener", request_table.listener_text(self._snapshot.serving, host.disk_free if host else None))
        shares = request_table.clients_line(self._snapshot.requests)
        lines = [f"{fit(name, 16, pad=True)} {number:>4} req  {share * 100:>3.0f} %" for name, number, share in shares]
        self.write("#clients", "\n".join(lines) or "nobody has asked yet")
        self.query_one("#clients-panel", Panel).entitle(f"Clients {len(shares)}", "share of tokens")

    @on(FilterBar.Changed)
    def _filter_changed(self, event: FilterBar.Changed) -> None:
        self._filter_line = event.line
        self._draw()

    @on(FilterBar.Left)
    def _filter_left(self) -> None:
        self.table.focus()

    @on(KeyedTable.Opened, "#requests")
    def _opened(self) -> None:
        self.action_open()

    @on(KeyedTable.Highlighted, "#requests")
    def _moved(self) -> None:
        if self._follows and self.table.has_focus and self.table.cursor_row > 0:
            self._follows = False
        self._draw()

    def action_open(self) -> None:
        """Show all there is to know about the request under the cursor."""
        if (request := self.highlighted) is not None:
            self.app.push_screen(DetailsDialog("Request", request_table.detail_lines(request)))

    def action_curl(self) -> None:
        """Copy the request under the cursor as a curl command; its body is an example."""
        if (request := self.highlighted) is not None:
            self.workbench.copy_to_clipboard(curl_command(request, self._snapshot.serving))

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask whether to stop the request under the cursor, and stop it."""
        request = self.highlighted
        if request is None or not request_table.is_in_flight(request):
            self.tell("this request has ended")
            return
        lines = [f"  {request.client}  {request.method} {request.path}", f"  {request.model}"]
        dialog = ConfirmDialog("Cancel this request?", lines, "Cancel it", "No, go on")
        if await self.app.push_screen_wait(dialog) and not await self.try_verb(lambda one: one.cancel(request.id)):
            self.tell("it had ended already")

    def action_follow(self) -> None:
        """Stay with the newest request, or stop doing so."""
        self._follows = not self._follows
        self._draw()

    def action_errors(self) -> None:
        """Show errors only, or everything."""
        self._errors_only = not self._errors_only
        self._draw()

    def action_find(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).open()

    def action_back(self) -> None:
        """Clear the filter."""
        self.query_one(FilterBar).close()
        self.table.focus()
