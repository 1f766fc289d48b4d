"""Running: what the machine does, which models are in memory, who waits, and the requests each works on."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from corral.runtime.snapshot import EMPTY, EventView, ModelView, RequestView, Snapshot
from corral.tui.actions import Where
from corral.tui.dialogs.request import cancel_dialog
from corral.tui.filtering import matcher
from corral.tui.screen_settings import RATES_S
from corral.tui.screens.memory_keys import MemoryKeys
from corral.tui.widgets import loaded_table, queue_table, slot_table
from corral.tui.widgets.core_bars import CoreBars
from corral.tui.widgets.event_log import EventLog
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.gauge import Gauge
from corral.tui.widgets.gpu_panels import GpuPanel, VramPanel
from corral.tui.widgets.graph import HistoryGraph
from corral.tui.widgets.host_panels import CpuPanel, MemoryPanel, ThroughputPanel
from corral.tui.widgets.keyed_table import KeyedTable
from corral.tui.widgets.model_panel import ModelPanel
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.stacked_bar import StackedBar

__all__ = ["RunningScreen"]

_ROOMY = 44
_SLACK_S = 0.1
"""How much early a tick may come and still count as one whole interval later."""


class RunningScreen(MemoryKeys):
    """Gauges above, models, the slots of the model under the cursor, who waits, and what happened."""

    WHERE: ClassVar[Where] = Where.RUNNING
    CHANGING: ClassVar[frozenset[str]] = frozenset({"unload", "pin", "cancel"})
    AUTO_FOCUS = "#loaded-table"
    DEFAULT_CSS = """
    .gauges { height: 8; layout: horizontal; }
    .gauges Panel { width: 1fr; }
    .gauges .graphs { height: 1fr; }
    .gauges .graphs HistoryGraph { width: 1fr; }
    .gauges .graphs .second { display: none; }
    .panel-note { height: 1; color: $text-muted; }
    #gpu-gauges { display: none; height: 7; }
    #work-gauges { height: 6; }
    #work-gauges Panel { width: 1fr; }
    #model-panel { display: none; }
    #loaded-panel { height: 1fr; min-height: 4; }
    #slots-panel { height: 1fr; min-height: 4; }
    #running-bottom { height: 5; }
    #queue-panel { width: 1fr; display: none; }
    #events-panel { width: 1fr; }
    #loaded-empty { height: 1fr; content-align: center middle; display: none; color: $text-muted; }
    #loaded-panel.-none KeyedTable { height: 1; }
    #loaded-panel.-none #loaded-empty { display: block; }
    RunningScreen.-queue #queue-panel { display: block; }
    RunningScreen.-queue #events-panel { display: none; }
    RunningScreen.-info #throughput-panel { display: none; }
    RunningScreen.-info #model-panel { display: block; }
    RunningScreen.-info #work-gauges { height: 9; }
    RunningScreen.-wide .gauges .graphs .second { display: block; margin: 0 0 0 1; }
    RunningScreen.-ultra .gauges .graphs .second { display: block; margin: 0 0 0 1; }
    RunningScreen.-wide #model-panel, RunningScreen.-ultra #model-panel { display: block; }
    RunningScreen.-wide #work-gauges, RunningScreen.-ultra #work-gauges { height: 9; }
    RunningScreen.-wide #queue-panel, RunningScreen.-ultra #queue-panel { display: block; }
    RunningScreen.-wide #events-panel, RunningScreen.-ultra #events-panel { display: block; }
    RunningScreen.-gpu #gpu-gauges { display: block; }
    RunningScreen.-gpu .gauges { height: 7; }
    RunningScreen.-gpu #host-gauges { height: 6; display: none; }
    RunningScreen.-gpu.-roomy #host-gauges { display: block; }
    RunningScreen.-gpu #running-bottom { height: 4; }
    RunningScreen.-medium #work-gauges, RunningScreen.-short #work-gauges { display: none; }
    RunningScreen.-medium .gauges { height: 7; }
    RunningScreen.-medium #running-bottom { height: 4; }
    RunningScreen.-short #host-gauges { display: none; }
    RunningScreen.-short #running-bottom { display: none; }
    RunningScreen.-short .gauges { height: 5; }
    RunningScreen.-short.-gpu #gpu-gauges { height: 5; }
    RunningScreen.-medium.-info .gauges, RunningScreen.-short.-info .gauges { display: none; }
    RunningScreen.-medium.-info #gpu-gauges, RunningScreen.-short.-info #gpu-gauges { display: none; }
    RunningScreen.-medium.-info #work-gauges { display: block; height: 9; }
    RunningScreen.-short.-info #work-gauges { display: block; height: 6; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Snapshot = EMPTY
        self._is_paused = False
        self._gauges_at_s = float("-inf")
        self._filter_line = ""
        self._kind = ""

    def compose_body(self) -> ComposeResult:
        """Bands, one below the other."""
        self._glyphs = self.workbench.glyphs
        self._make_room(self.app.size.height)
        self._show_gpus(self.link.latest())
        with Horizontal(id="gpu-gauges", classes="gauges"):
            yield GpuPanel(self._glyphs)
            yield VramPanel(self._glyphs)
        with Horizontal(id="host-gauges", classes="gauges"):
            yield CpuPanel(self._glyphs)
            yield MemoryPanel(self._glyphs)
        with Horizontal(id="work-gauges"):
            yield ThroughputPanel(self._glyphs)
            yield ModelPanel(self._glyphs)
        with Panel("Models", widget_id="loaded-panel"):
            yield KeyedTable(widget_id="loaded-table")
            yield Static("Nothing is in memory. A chat loads its model, l loads any.", id="loaded-empty")
        with Panel("Slots", widget_id="slots-panel"):
            yield KeyedTable(widget_id="slots-table")
        with Horizontal(id="running-bottom"):
            with Panel("Queue", widget_id="queue-panel"):
                yield KeyedTable(widget_id="queue-table")
            with Panel("Events", widget_id="events-panel"):
                yield FilterBar()
                yield EventLog()

    @property
    def loaded(self) -> KeyedTable:
        """The models in memory."""
        return self.query_one("#loaded-table", KeyedTable)

    @property
    def slots(self) -> KeyedTable:
        """The requests of the model under the cursor."""
        return self.query_one("#slots-table", KeyedTable)

    @property
    def queue(self) -> KeyedTable:
        """The requests that wait."""
        return self.query_one("#queue-table", KeyedTable)

    @property
    def highlighted_model(self) -> ModelView | None:
        """The model under the cursor."""
        key = self.loaded.highlighted_key
        return next((one for one in self._snapshot.models if one.name == key), None)

    def refusal(self, action: str) -> str:
        """Why an action would come to nothing now."""
        if why := super().refusal(action):
            return why
        if action in ("unload", "pin", "extend") and self.highlighted_model is None:
            return "no model is in memory"
        if action == "cancel" and self._request() is None:
            is_ollama = bool(self.link.place) and self._snapshot.host is None
            return "this server does not tell of its requests" if is_ollama else "no request is under the cursor"
        return ""

    def on_mount(self) -> None:
        """Start on the models."""
        self.queue.set_columns(queue_table.COLUMNS)
        self.loaded.focus()

    def on_screen_resume(self) -> None:
        """Draw at once after having been away."""
        self._gauges_at_s = float("-inf")

    def on_resize(self) -> None:
        """Choose the columns anew, and whether there is room for the processor beside GPUs."""
        self._make_room(self.size.height)
        self.call_after_refresh(self._draw_tables)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw what changed; the gauges no oftener than the interval says."""
        self._snapshot = snapshot
        if self._glyphs is not self.workbench.glyphs:
            self._use_glyphs()
        if not self._is_paused and snapshot.at_s - self._gauges_at_s >= self.workbench.refresh_s - _SLACK_S:
            self._gauges_at_s = snapshot.at_s
            self._draw_gauges()
        self._draw_tables()

    def _make_room(self, height: int) -> None:
        self.set_class(height >= _ROOMY, "-roomy")

    def _show_gpus(self, snapshot: Snapshot) -> bool:
        has_gpu = snapshot.host is not None and bool(snapshot.host.gpus)
        self.set_class(has_gpu, "-gpu")
        return has_gpu

    def _draw_gauges(self) -> None:
        if self._show_gpus(self._snapshot):
            self.query_one(GpuPanel).show(self._snapshot)
            self.query_one(VramPanel).show(self._snapshot)
        self.query_one(CpuPanel).show(self._snapshot)
        self.query_one(MemoryPanel).show(self._snapshot)
        self.query_one(ThroughputPanel).show(self._snapshot)
        self._draw_model()

    def _draw_model(self) -> None:
        self.query_one(ModelPanel).show_model(self.highlighted_model)

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
        self._draw_queue()
        self._draw_events()

    def _pace(self) -> str:
        return "gauges paused · ␣ goes on" if self._is_paused else f"every {self.workbench.refresh_s:g} s"

    def _draw_slots(self) -> None:
        table = self.slots
        model = self.loaded.highlighted_key
        loaded = {one.name for one in self._snapshot.models}
        requests = slot_table.slots_of(model, self._snapshot.requests, loaded)
        table.set_columns(slot_table.columns(self.size.width - 4))
        table.sync([(one.id, slot_table.row(one, model, self._snapshot.at_s)) for one in requests])
        title = f"Slots · {model}" if model else "Slots"
        self.query_one("#slots-panel", Panel).entitle(title, f"{len(requests)} in flight · x cancels")

    def _draw_queue(self) -> None:
        queue, now_s = self._snapshot.queue, self._snapshot.at_s
        self.set_class(bool(queue), "-queue")
        self.queue.sync(queue_table.rows(queue, now_s))
        self.query_one("#queue-panel", Panel).entitle(queue_table.title(queue, now_s))

    def _draw_events(self) -> None:
        matches = matcher(self._filter_line)

        def passes(event: EventView) -> bool:
            return self._kind in ("", event.kind) and matches(f"{event.kind} {event.text}")

        self.query_one(EventLog).show(self._snapshot.events, passes)
        only = [self._kind, f"/{self._filter_line}" if self._filter_line else ""]
        title = " · ".join(["Events", *(one for one in only if one)])
        self.query_one("#events-panel", Panel).entitle(title, "K kinds · / filter")

    @on(KeyedTable.Highlighted, "#loaded-table")
    def _highlighted(self) -> None:
        self.draw_keys()
        self._draw_slots()
        self._draw_model()

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask whether to stop the request under the cursor, and stop it."""
        request = self._request()
        if request is None:
            return
        if await self.confirmed(cancel_dialog(request)):
            await self.try_verb(lambda client: client.cancel(request.id))

    def _request(self) -> RequestView | None:
        """The request under the cursor: among those who wait if the focus is there, else among the slots."""
        table = self.queue if self.queue.has_focus else self.slots
        return next((one for one in self._snapshot.requests if one.id == table.highlighted_key), None)

    def action_info(self) -> None:
        """Show the model in full, or the gauges."""
        self.toggle_class("-info")
        self._draw_model()

    def action_switch_gpu(self, step: int) -> None:
        """Show the GPU so many further on."""
        self.query_one(GpuPanel).number += step
        self._draw_gauges()

    def action_kinds(self) -> None:
        """Show events of the next kind only, at last all of them."""
        kinds = ["", *sorted({event.kind for event in self._snapshot.events})]
        place = kinds.index(self._kind) + 1 if self._kind in kinds else 0
        self._kind = kinds[place % len(kinds)]
        self._draw_events()

    def action_find(self) -> None:
        """Type a filter for the events."""
        self.query_one(FilterBar).open()

    def action_back(self) -> None:
        """Clear the filter."""
        self._kind = ""
        self.query_one(FilterBar).close()
        self.loaded.focus()
        self._draw_events()

    @on(FilterBar.Changed)
    def _filter_changed(self, event: FilterBar.Changed) -> None:
        self._filter_line = event.line
        self._draw_events()

    @on(FilterBar.Left)
    def _filter_left(self) -> None:
        self.query_one(EventLog).focus()

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
        now = self.workbench.refresh_s
        others = [one for one in RATES_S if (one > now if step > 0 else one < now)]
        if others:
            self.workbench.refresh_s = min(others) if step > 0 else max(others)
            self.workbench.set_here.add("refresh")
        self._draw_tables()

    def action_glyphs(self) -> None:
        """Draw with the next set of characters."""
        self.workbench.glyphs = self.workbench.glyphs.following
        self.workbench.set_here.add("graph")
        self._use_glyphs()

    def _use_glyphs(self) -> None:
        self._glyphs = self.workbench.glyphs
        for widget in self.query("HistoryGraph, Gauge, CoreBars, StackedBar, ModelPanel"):
            if isinstance(widget, (HistoryGraph, Gauge, CoreBars, StackedBar, ModelPanel)):
                widget.use(self._glyphs)
