"""Running: what the machine does, which models are in memory, and the requests each works on."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from corral.runtime.snapshot import EMPTY, Snapshot
from corral.tui.actions import Where
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.screens.calling import CallingScreen
from corral.tui.widgets import loaded_table, slot_table
from corral.tui.widgets.core_bars import CoreBars
from corral.tui.widgets.event_log import EventLog
from corral.tui.widgets.gauge import Gauge
from corral.tui.widgets.glyphs import terminal_glyphs
from corral.tui.widgets.graph import HistoryGraph
from corral.tui.widgets.host_panels import CpuPanel, GpuPanel, MemoryPanel, ThroughputPanel, VramPanel
from corral.tui.widgets.keyed_table import KeyedTable
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.stacked_bar import StackedBar

__all__ = ["RunningScreen"]

_INTERVALS_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_SLACK_S = 0.1
"""How much early a tick may come and still count as one whole interval later."""


class RunningScreen(CallingScreen):
    """Gauges above, models, the slots of the model under the cursor, and what happened."""

    WHERE: ClassVar[Where] = Where.RUNNING
    AUTO_FOCUS = "#loaded-table"
    DEFAULT_CSS = """
    .gauges { height: 8; layout: horizontal; }
    .gauges Panel { width: 1fr; }
    .panel-note { height: 1; color: $text-muted; }
    #gpu-gauges { display: none; height: 7; }
    #throughput-panel { height: 6; }
    #loaded-panel { height: 1fr; min-height: 4; }
    #slots-panel { height: 1fr; min-height: 4; }
    #events-panel { height: 6; }
    #loaded-empty { height: 1fr; content-align: center middle; display: none; color: $text-muted; }
    #loaded-panel.-none KeyedTable { height: 1; }
    #loaded-panel.-none #loaded-empty { display: block; }
    RunningScreen.-gpu #gpu-gauges { display: block; }
    RunningScreen.-gpu .gauges { height: 7; }
    RunningScreen.-gpu #throughput-panel { height: 4; }
    RunningScreen.-gpu #events-panel { height: 4; }
    RunningScreen.-medium #throughput-panel, RunningScreen.-short #throughput-panel { display: none; }
    RunningScreen.-medium .gauges { height: 7; }
    RunningScreen.-medium #events-panel { height: 4; }
    RunningScreen.-medium.-gpu #host-gauges, RunningScreen.-short #host-gauges { display: none; }
    RunningScreen.-short #events-panel { display: none; }
    RunningScreen.-short .gauges { height: 5; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Snapshot = EMPTY
        self._interval_s = 1.0
        self._is_paused = False
        self._gauges_at_s = float("-inf")

    def compose_body(self) -> ComposeResult:
        """Five bands, one below the other."""
        self._glyphs = terminal_glyphs(self.workbench.environ)
        with Horizontal(id="gpu-gauges", classes="gauges"):
            yield GpuPanel(self._glyphs)
            yield VramPanel(self._glyphs)
        with Horizontal(id="host-gauges", classes="gauges"):
            yield CpuPanel(self._glyphs)
            yield MemoryPanel(self._glyphs)
        yield ThroughputPanel(self._glyphs)
        with Panel("Models", widget_id="loaded-panel"):
            yield KeyedTable(widget_id="loaded-table")
            yield Static("Nothing is in memory. A chat loads its model, so does l on Models.", id="loaded-empty")
        with Panel("Slots", widget_id="slots-panel"):
            yield KeyedTable(widget_id="slots-table")
        with Panel("Events", widget_id="events-panel"):
            yield EventLog()

    @property
    def loaded(self) -> KeyedTable:
        """The models in memory."""
        return self.query_one("#loaded-table", KeyedTable)

    @property
    def slots(self) -> KeyedTable:
        """The requests of the model under the cursor."""
        return self.query_one("#slots-table", KeyedTable)

    def on_mount(self) -> None:
        """Start on the models."""
        self.loaded.focus()

    def on_screen_resume(self) -> None:
        """Draw at once after having been away."""
        self._gauges_at_s = float("-inf")

    def on_resize(self) -> None:
        """Choose the columns anew."""
        self.call_after_refresh(self._draw_tables)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw what changed; the gauges no oftener than the interval says."""
        self._snapshot = snapshot
        if not self._is_paused and snapshot.at_s - self._gauges_at_s >= self._interval_s - _SLACK_S:
            self._gauges_at_s = snapshot.at_s
            self._draw_gauges()
        self._draw_tables()

    def _draw_gauges(self) -> None:
        host = self._snapshot.host
        has_gpu = host is not None and bool(host.gpus)
        self.set_class(has_gpu, "-gpu")
        if has_gpu:
            self.query_one(GpuPanel).show(self._snapshot)
            self.query_one(VramPanel).show(self._snapshot)
        self.query_one(CpuPanel).show(self._snapshot)
        self.query_one(MemoryPanel).show(self._snapshot)
        self.query_one(ThroughputPanel).show(self._snapshot)

    def _draw_tables(self) -> None:
        table = self.loaded
        width = self.size.width - 4
        table.set_columns(loaded_table.columns(width))
        is_wide = loaded_table.is_wide(width)
        models = self._snapshot.models
        table.sync([(one.name, loaded_table.row(one, is_wide=is_wide, glyphs=self._glyphs)) for one in models])
        panel = self.query_one("#loaded-panel", Panel)
        panel.set_class(not models, "-none")
        panel.entitle(f"Models {len(models)} in memory", self._pace())
        self._draw_slots()
        self.query_one(EventLog).show(self._snapshot.events)

    def _pace(self) -> str:
        return "gauges paused · ␣ goes on" if self._is_paused else f"every {self._interval_s:g} s"

    def _draw_slots(self) -> None:
        table = self.slots
        model = self.loaded.highlighted_key
        loaded = {one.name for one in self._snapshot.models}
        requests = slot_table.slots_of(model, self._snapshot.requests, loaded)
        table.set_columns(slot_table.columns(self.size.width - 4))
        table.sync([(one.id, slot_table.row(one, model, self._snapshot.at_s)) for one in requests])
        title = f"Slots · {model}" if model else "Slots"
        self.query_one("#slots-panel", Panel).entitle(title, f"{len(requests)} in flight · x cancels")

    @on(KeyedTable.Highlighted, "#loaded-table")
    def _highlighted(self) -> None:
        self._draw_slots()

    @work(group="unload", exit_on_error=False)
    async def action_unload(self) -> None:
        """Take the model under the cursor out of memory."""
        model = self.loaded.highlighted_key
        if model is not None:
            await self.try_verb(lambda client: client.unload(model))

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask whether to stop the request under the cursor, and stop it."""
        request = next((one for one in self._snapshot.requests if one.id == self.slots.highlighted_key), None)
        if request is None:
            return
        lines = [f"  {request.client}  {request.path}", f"  {request.model}, {request.output_tokens} tokens so far"]
        if await self.app.push_screen_wait(ConfirmDialog("Cancel this request?", lines, "Cancel it", "No, go on")):
            await self.try_verb(lambda client: client.cancel(request.id))

    def action_pause(self) -> None:
        """Freeze the gauges, or let them go on."""
        self._is_paused = not self._is_paused
        self._draw_tables()

    def action_slower(self) -> None:
        """Draw the gauges less often."""
        self._change_interval(1)

    def action_faster(self) -> None:
        """Draw the gauges more often."""
        self._change_interval(-1)

    def _change_interval(self, step: int) -> None:
        place = _INTERVALS_S.index(self._interval_s) + step
        self._interval_s = _INTERVALS_S[min(max(place, 0), len(_INTERVALS_S) - 1)]
        self._draw_tables()

    def action_glyphs(self) -> None:
        """Draw with the next set of characters."""
        self._glyphs = self._glyphs.following
        for widget in self.query("HistoryGraph, Gauge, CoreBars, StackedBar"):
            if isinstance(widget, (HistoryGraph, Gauge, CoreBars, StackedBar)):
                widget.use(self._glyphs)
