"""Server: who asks what over the API, how it went, and what the service says of itself."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from corral.runtime.errors import RunError
from corral.runtime.snapshot import EMPTY, LogLine, RequestView, Snapshot
from corral.store.errors import StoreError
from corral.tui.actions import Where
from corral.tui.curl import base_url, curl_command
from corral.tui.dialogs.request import RequestDialog, cancel_dialog
from corral.tui.filtering import matcher
from corral.tui.screens.calling import CallingScreen
from corral.tui.states import is_error
from corral.tui.text import fit
from corral.tui.widgets import client_table, request_table
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.keyed_table import KeyedTable
from corral.tui.widgets.listener import listener_lines
from corral.tui.widgets.log_view import LEVELS, LogView
from corral.tui.widgets.panel import Panel

__all__ = ["ServerScreen"]

_RATE_WINDOW_S = 10.0
_NEWEST_FIRST = ("time", True)


class ServerScreen(CallingScreen):
    """Requests above, the log below them, listener and clients at the bottom."""

    WHERE: ClassVar[Where] = Where.SERVER
    CHANGING: ClassVar[frozenset[str]] = frozenset({"cancel", "bodies"})
    AUTO_FOCUS = "#requests"
    DEFAULT_CSS = """
    #requests-panel { height: 2fr; }
    #requests-empty { height: 1fr; content-align: center middle; text-align: center; display: none; }
    #requests-panel.-none KeyedTable { height: 1; }
    #requests-panel.-none #requests-empty { display: block; }
    #log-panel { height: 1fr; }
    #server-bottom { height: 6; layout: horizontal; }
    #server-bottom Panel { width: 1fr; }
    #listener { text-wrap: nowrap; text-overflow: ellipsis; }
    ServerScreen.-medium #server-bottom, ServerScreen.-short #server-bottom { height: 5; }
    ServerScreen.-short #log-panel { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Snapshot = EMPTY
        self._filter_line = ""
        self._log_filter = ""
        self._errors_only = False
        self._follows = True
        self._moves_seen = 0
        self._is_paused = False
        self._keeps_bodies: bool | None = None
        """What was last asked for, until a snapshot says so too; None: as the snapshot says."""
        self._level = LEVELS.index("info")
        self._sorted_by = _NEWEST_FIRST
        self._rows = request_table.Rows()

    def compose_body(self) -> ComposeResult:
        """Three bands, one below the other."""
        with Panel("Requests", widget_id="requests-panel"):
            yield FilterBar(widget_id="requests-filter")
            yield KeyedTable(widget_id="requests")
            yield Static("", id="requests-empty", markup=False)
        with Panel("Log", widget_id="log-panel"):
            yield FilterBar(widget_id="log-filter", sign="&")
            yield FilterBar(widget_id="log-find", hint="words to find · ⏎, then n next · N the one before")
            yield LogView(widget_id="log")
        with Horizontal(id="server-bottom"):
            with Panel("Listener", widget_id="listener-panel"):
                yield Static("", id="listener", markup=False)
            with Panel("Clients", widget_id="clients-panel"):
                yield KeyedTable(widget_id="clients")

    @property
    def table(self) -> KeyedTable:
        """The requests."""
        return self.query_one("#requests", KeyedTable)

    @property
    def highlighted(self) -> RequestView | None:
        """The request under the cursor."""
        key = self.table.highlighted_key
        return next((one for one in self._snapshot.requests if one.id == key), None)

    @property
    def models_meant(self) -> tuple[str, ...]:
        """The one that the request under the cursor asked."""
        request = self.highlighted
        return (request.model,) if request is not None and request.model else ()

    @property
    def log_view(self) -> LogView:
        """The log."""
        return self.query_one("#log", LogView)

    @property
    def _in_log(self) -> bool:
        """Whether keys are meant for the log."""
        return self.query_one("#log-panel", Panel).has_focus_within

    def refusal(self, action: str) -> str:
        """Why an action would come to nothing now."""
        if why := super().refusal(action):
            return why
        request = self.highlighted
        if action in ("open", "curl", "cancel") and request is None:
            return "no request is under the cursor"
        if action == "cancel" and request is not None and not request_table.is_in_flight(request):
            return "this request has ended"
        if action == "bodies" and self.link.place:
            return "only the workbench that serves keeps what requests say"
        return ""

    def on_mount(self) -> None:
        """Start on the requests."""
        self.table.focus()

    def on_resize(self) -> None:
        """Choose the columns anew."""
        self.call_after_refresh(self._draw)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw what changed; nothing moves while it is held still."""
        if snapshot.recording == self._keeps_bodies:
            self._keeps_bodies = None
        if not self._is_paused:
            self._snapshot = snapshot
            self._draw()

    def _draw(self) -> None:
        shown = request_table.chosen(self._snapshot.requests, self._filter_line, errors_only=self._errors_only)
        sort_by, is_descending = self._sorted_by
        if self._sorted_by != _NEWEST_FIRST:
            shown = request_table.ordered(shown, sort_by, is_descending=is_descending)
        table = self.table
        if table.moves != self._moves_seen:
            self._moves_seen = table.moves
            self._follows = self._follows and table.cursor_row == 0
        table.set_columns(request_table.columns(self.size.width - 4), sorted_by=sort_by, is_descending=is_descending)
        table.sync(self._rows.of(shown))
        if self._follows and shown and table.highlighted_key != shown[0].id:
            table.go_to(shown[0].id)
        self._draw_frame(len(shown))
        self._draw_log()
        self._draw_bottom()

    def _draw_frame(self, shown: int) -> None:
        snapshot = self._snapshot
        errors = sum(is_error(one) for one in snapshot.requests)
        recent = sum(snapshot.at_s - one.started_s <= _RATE_WINDOW_S for one in snapshot.requests)
        running = sum(request_table.is_in_flight(one) for one in snapshot.requests)
        notes = [f"{running} running", f"{recent / _RATE_WINDOW_S:.1f}/s", f"errors {errors}"]
        notes += [f"/{self._filter_line}"] if self._filter_line else []
        notes += ["errors only"] if self._errors_only else []
        notes += ["held still · ␣ goes on"] if self._is_paused else []
        notes += ["bodies kept (W)"] if snapshot.recording else []
        panel = self.query_one("#requests-panel", Panel)
        panel.set_class(shown == 0, "-none")
        panel.entitle(f"Requests · {' · '.join(notes)}", self._subtitle())
        self.write("#requests-empty", self._empty_text())

    def _subtitle(self) -> str:
        request = self.highlighted
        reason = request_table.why(request) if request is not None else ""
        return " · ".join(one for one in (fit(reason, 60), "follow ●" if self._follows else "follow ○") if one)

    def _draw_log(self) -> None:
        level = max(self._level, LEVELS.index("warning")) if self._errors_only else self._level
        matches = matcher(self._log_filter)
        passing = LEVELS[level:]

        def passes(line: LogLine) -> bool:
            return line.level in passing and matches(f"{line.level} {line.source} {line.text}")

        view = self.log_view
        view.show(self._snapshot.log, passes, (level, self._log_filter))
        only = f" · &{self._log_filter}" if self._log_filter else ""
        sought = self.query_one("#log-find", FilterBar).line
        place, count = view.found
        only += f" · /{sought} {place}/{count}" if sought else ""
        follows = "follow ●" if view.follows else "follow ○"
        lines = "1 line" if view.shown == 1 else f"{view.shown} lines"
        self.query_one("#log-panel", Panel).entitle(
            f"Log · {LEVELS[level]} and above{only} · {lines}", f"< > level · w wrap · {follows}"
        )

    def _empty_text(self) -> str:
        if self._snapshot.requests:
            ways = ["Esc clears the filter"] if self._filter_line else []
            ways += ["! shows more than errors"] if self._errors_only else []
            return f"No request passes.\n\n{', '.join(ways)}"
        if self._snapshot.trouble:
            return "No request is known: the server does not answer."
        serving = self._snapshot.serving
        return (
            f"No request yet.\n\ncurl {fit(base_url(serving), 60)}/api/tags"
            if serving
            else "No request yet: nothing listens."
        )

    def _draw_bottom(self) -> None:
        self.write("#listener", "\n".join(listener_lines(self._snapshot)))
        found = client_table.usages(self._snapshot.clients, self._snapshot.requests)
        clients = self.query_one("#clients", KeyedTable)
        clients.set_columns(client_table.columns(self.size.width // 2 - 4))
        clients.sync(client_table.rows(found))
        title = f"Clients {len(found)}" if found else "Clients · nobody has asked yet"
        self.query_one("#clients-panel", Panel).entitle(title, "share of tokens")

    @on(FilterBar.Changed, "#requests-filter")
    def _filter_changed(self, event: FilterBar.Changed) -> None:
        self._filter_line = event.line
        self._draw()

    @on(FilterBar.Left, "#requests-filter")
    def _filter_left(self) -> None:
        self.table.focus()

    @on(FilterBar.Changed, "#log-filter")
    def _log_filter_changed(self, event: FilterBar.Changed) -> None:
        self._log_filter = event.line
        self._draw_log()

    @on(FilterBar.Left, "#log-filter")
    @on(FilterBar.Left, "#log-find")
    def _log_filter_left(self) -> None:
        self.log_view.focus()

    @on(FilterBar.Changed, "#log-find")
    def _log_sought(self, event: FilterBar.Changed) -> None:
        self.log_view.seek(event.line)
        self._draw_log()

    @on(LogView.Moved)
    def _log_moved(self) -> None:
        self._draw_log()

    @on(KeyedTable.Opened, "#requests")
    def _opened(self) -> None:
        self.action_open()

    @on(KeyedTable.Highlighted, "#requests")
    def _moved(self) -> None:
        self._draw()
        self.draw_keys()

    def action_open(self) -> None:
        """Show all there is to know about the request under the cursor."""
        if (request := self.highlighted) is not None:
            self.app.push_screen(RequestDialog(request, self.link, self._snapshot.serving))

    @work(group="curl", exclusive=True, exit_on_error=False)
    async def action_curl(self) -> None:
        """Copy the request under the cursor as a curl command; its body is an example where it was not kept."""
        request = self.highlighted
        if request is None:
            return
        recorded = await self.try_verb(lambda client: client.recorded(request.id))
        body = recorded.body if recorded is not None and not recorded.cut else ""
        self.workbench.copy_to_clipboard(curl_command(request, self._snapshot.serving, body))

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask whether to stop the request under the cursor, and stop it."""
        if (request := self.highlighted) is None:
            return
        if await self.confirmed(cancel_dialog(request)) and not await self.try_verb(lambda one: one.cancel(request.id)):
            self.tell("it had ended already")

    def action_follow(self) -> None:
        """Stay with the newest request, or line of the log, or stop doing so."""
        if self._in_log:
            self.log_view.follow(on=not self.log_view.follows)
            return
        self._follows = not self._follows
        self._draw()

    def action_errors(self) -> None:
        """Show errors only, or everything."""
        self._errors_only = not self._errors_only
        self._draw()

    def action_pause(self) -> None:
        """Hold requests and log still, or let them go on."""
        self._is_paused = not self._is_paused
        self._draw()

    def action_level(self, step: int) -> None:
        """Show more of the log, or less; while only errors are shown no less weighty lines come back by it."""
        least = LEVELS.index("warning") if self._errors_only else 0
        level = max(self._level, least) + step
        if not least <= level < len(LEVELS):
            self.tell("only errors are shown: ! shows the rest" if least and step < 0 else "there is no other level")
            return
        self._level = level
        self._draw_log()

    def action_wrap(self) -> None:
        """Wrap the lines of the log, or cut them."""
        self.log_view.wrap()

    def action_sort(self) -> None:
        """Sort the requests by the next column; by time the newest stay on top."""
        place = request_table.SORTS.index(self._sorted_by[0]) + 1
        name = request_table.SORTS[place % len(request_table.SORTS)]
        self._sorted_by = (name, name not in ("client", "path", "model"))
        self._follows = self._sorted_by == _NEWEST_FIRST
        self._draw()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._sorted_by = (self._sorted_by[0], not self._sorted_by[1])
        self._follows = False
        self._draw()

    @work(group="bodies", exclusive=True, exit_on_error=False)
    async def action_bodies(self) -> None:
        """Keep what requests say in memory from now on, or forget it."""
        was_on = self.link.latest().recording if self._keeps_bodies is None else self._keeps_bodies
        self._keeps_bodies = on = not was_on
        try:
            await self.link.call(lambda client: client.record(on=on))
        except (StoreError, RunError) as error:
            self._keeps_bodies = None
            self.tell_error(str(error))
            return
        self.tell("bodies of requests to come are kept in memory: they may hold secrets" if on else "bodies forgotten")
        self.workbench.refresh_now()

    def action_find(self) -> None:
        """Type a filter for the requests, or words to find in the log where the focus is there."""
        self.query_one("#log-find" if self._in_log else "#requests-filter", FilterBar).open()

    def action_filter_log(self) -> None:
        """Type a filter for the log."""
        self.query_one("#log-filter", FilterBar).open()

    def action_find_next(self, by: int) -> None:
        """Go to the next line found in the log, or the one before."""
        if not self.log_view.step(by):
            self.tell("nothing is looked for in the log: / there, then words")

    def action_back(self) -> None:
        """Clear what is looked for, then the filter."""
        if self._in_log:
            bars = [self.query_one(name, FilterBar) for name in ("#log-find", "#log-filter")]
            next((bar for bar in bars if bar.has_class("-open")), bars[0]).close()
            self.log_view.focus()
        else:
            self.query_one("#requests-filter", FilterBar).close()
            self.table.focus()
