"""Models: what lies on disk, what is being fetched, and what can be done with a model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from corral.runtime.errors import RunError
from corral.runtime.snapshot import EMPTY, ModelState, Snapshot
from corral.runtime.verbs import GenerateRequest, ModelSummary
from corral.store.errors import StoreError
from corral.tui.actions import Where
from corral.tui.chats import new_caller
from corral.tui.dialogs.ask import AskDialog, check_model_name
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.delete import delete_dialog
from corral.tui.dialogs.pull import pull_dialog
from corral.tui.figures import size
from corral.tui.screens.calling import CallingScreen, exhaust
from corral.tui.screens.modelfile import ModelfileScreen
from corral.tui.text import clean_line
from corral.tui.widgets import model_table
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.glyphs import terminal_glyphs
from corral.tui.widgets.keyed_table import KeyedTable
from corral.tui.widgets.model_info import ModelInfo
from corral.tui.widgets.model_table import Listing
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.transfers import Transfers

__all__ = ["ModelsScreen"]

_STORE_EVENTS = frozenset({"pull", "create", "delete", "copy"})


class ModelsScreen(CallingScreen):
    """The models on disk. The listing is read again whenever the service says that the store changed."""

    WHERE: ClassVar[Where] = Where.MODELS
    AUTO_FOCUS = "#models-table"
    DEFAULT_CSS = """
    #models-top { height: 1fr; layout: horizontal; }
    #models-panel { width: 2fr; }
    #info-panel { width: 42; display: none; }
    #models-foot { height: 1; color: $text-muted; }
    #models-empty { height: 1fr; content-align: center middle; text-align: center; display: none; }
    #models-panel.-none KeyedTable { height: 1; }
    #models-panel.-none #models-empty { display: block; }
    #transfers-panel { height: auto; max-height: 8; display: none; }
    #transfers-panel.-some { display: block; }
    #transfers-panel Transfers { height: auto; max-height: 6; }
    ModelsScreen.-info #info-panel { display: block; }
    ModelsScreen.-info.-normal #models-top, ModelsScreen.-info.-narrow #models-top { layout: vertical; }
    ModelsScreen.-info.-normal #info-panel, ModelsScreen.-info.-narrow #info-panel { width: 1fr; height: 10; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._models: tuple[ModelSummary, ...] = ()
        self._listing = Listing()
        self._marked: set[str] = set()
        self._snapshot: Snapshot = EMPTY
        self._store_sign: object = None
        self._is_read = False
        self._info_wanted: bool | None = None

    def compose_body(self) -> ComposeResult:
        """List and details side by side, transfers below."""
        with Horizontal(id="models-top"):
            with Panel("Models", widget_id="models-panel"):
                yield FilterBar()
                yield KeyedTable(widget_id="models-table")
                yield Static("", id="models-empty", markup=False)
                yield Static("", id="models-foot", markup=False)
            with Panel("Details", widget_id="info-panel"):
                yield ModelInfo()
        with Panel("Transfers", widget_id="transfers-panel"):
            yield Transfers(glyphs=terminal_glyphs(self.workbench.environ))

    @property
    def table(self) -> KeyedTable:
        """The list."""
        return self.query_one("#models-table", KeyedTable)

    @property
    def highlighted(self) -> ModelSummary | None:
        """The model under the cursor."""
        key = self.table.highlighted_key
        return next((model for model in self._models if model.name == key), None)

    def on_mount(self) -> None:
        """Read the store."""
        self.table.focus()
        self._place_info()
        self._read()

    def on_screen_resume(self) -> None:
        """Read the store again: other programs write it too."""
        self._read()

    def on_resize(self) -> None:
        """Choose the columns and the place of the details anew."""
        self._place_info()
        self.call_after_refresh(self._draw)

    def _place_info(self) -> None:
        self.set_class(self.app.size.width >= 120 if self._info_wanted is None else self._info_wanted, "-info")

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw what is in memory and what is being fetched."""
        self._snapshot = snapshot
        newest = next((event.wall_s for event in snapshot.events if event.kind in _STORE_EVENTS), 0.0)
        sign = (frozenset(transfer.id for transfer in snapshot.transfers), newest)
        if sign != self._store_sign:
            self._store_sign = sign
            self._read()
        self._draw_transfers()
        self._draw()

    @work(exclusive=True, group="listing", exit_on_error=False)
    async def _read(self) -> None:
        models = await self.try_verb(lambda client: client.list_models())
        if models is not None:
            self._is_read = True
            self._models = tuple(models)
            self._marked &= {model.name for model in models}
            self._draw()

    def _states(self) -> dict[str, ModelState]:
        return {name: model.state for model in self._snapshot.models for name in (model.name, *model.aliases)}

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        listing = self._listing
        table = self.table
        now = datetime.fromtimestamp(self._snapshot.wall_s, UTC) if self._snapshot.wall_s else datetime.now(UTC)
        table.set_columns(
            model_table.columns(table.size.width), sorted_by=listing.sort_by, is_descending=listing.is_descending
        )
        rows = model_table.rows(self._models, listing, states=self._states(), marked=self._marked, now=now)
        table.sync(rows)
        self._draw_frame(len(rows))

    def _draw_frame(self, shown: int) -> None:
        total = sum(model.size for model in self._models)
        filter_text = f" · {shown} shown by /{self._listing.filter_line}" if self._listing.filter_line else ""
        panel = self.query_one("#models-panel", Panel)
        arrow = "▼" if self._listing.is_descending else "▲"
        panel.entitle(
            f"Models {len(self._models)} · {size(total)}{filter_text}",
            f"␣ mark · c copy · s sort {self._listing.sort_by.upper()} {arrow}",
        )
        panel.set_class(shown == 0 and self._is_read, "-none")
        self.write("#models-empty", self._empty_text())
        self.write("#models-foot", self._foot_text())

    def _empty_text(self) -> str:
        if self._models:
            return "Nothing matches the filter.\n\nEsc clears it"
        if self._snapshot.transfers:
            return "The first model is on its way."
        return f"No models yet.\n\nf fetches the starter model ({self.workbench.starter})\np pulls another one"

    def _foot_text(self) -> str:
        host = self._snapshot.host
        disk = f"disk {size(host.disk_free)} free" if host is not None else ""
        if self._marked:
            marked = sum(model.size for model in self._models if model.name in self._marked)
            return f"✓ {len(self._marked)} marked · {size(marked)} · d deletes them   {disk}"
        return f"{disk}   {model_table.CAPABILITY_LEGEND}" if self.table.size.width >= 70 and self._models else disk

    def _draw_transfers(self) -> None:
        transfers = self._snapshot.transfers
        panel = self.query_one("#transfers-panel", Panel)
        panel.set_class(bool(transfers), "-some")
        if not transfers and self.query_one(Transfers).has_focus:
            self.table.focus()
        panel.entitle(f"Transfers {len(transfers)}", "x cancels")
        self.query_one(Transfers).show(transfers)

    @on(KeyedTable.Highlighted, "#models-table")
    def _highlighted(self) -> None:
        self._show_info()

    @work(exclusive=True, group="info", exit_on_error=False)
    async def _show_info(self) -> None:
        info = self.query_one(ModelInfo)
        model = self.highlighted
        if model is None or not self.has_class("-info"):
            info.say("")
            return
        self.query_one("#info-panel", Panel).entitle(model.name)
        try:
            info.show(model, await self.link.call(lambda client: client.show(model.name)))
        except (StoreError, RunError) as error:
            info.say(str(error))

    @on(KeyedTable.Opened, "#models-table")
    async def _opened(self) -> None:
        await self.action_open()

    @on(FilterBar.Changed)
    def _filter_changed(self, event: FilterBar.Changed) -> None:
        self._listing = replace(self._listing, filter_line=event.line)
        self._draw()

    @on(FilterBar.Left)
    def _filter_left(self) -> None:
        self.table.focus()

    async def action_open(self) -> None:
        """Chat with the model under the cursor."""
        if (model := self.highlighted) is None:
            return
        if not model.chats:
            what = ", ".join(model.capabilities)
            self.notify(clean_line(f"{model.name} does not chat, what it can do: {what}"), markup=False)
            return
        await self.workbench.open_chat(model.name)

    @work(group="load", exit_on_error=False)
    async def action_load(self) -> None:
        """Load the model under the cursor."""
        if (model := self.highlighted) is not None:
            request = GenerateRequest(model.name, caller=new_caller("/api/generate"))
            self.tell(f"loading {model.name}")
            await self.try_verb(lambda client: exhaust(client.generate(request)))

    @work(group="load", exit_on_error=False)
    async def action_unload(self) -> None:
        """Take the model under the cursor out of memory."""
        if (model := self.highlighted) is not None:
            await self.try_verb(lambda client: client.unload(model.name))

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_pull(self) -> None:
        """Ask what to fetch, and fetch it."""
        answer = await self.app.push_screen_wait(pull_dialog(self.workbench.starter))
        if answer:
            self._pull(answer)

    @work(group="pull", exit_on_error=False)
    async def _pull(self, what: str) -> None:
        if await self.try_verb(lambda client: exhaust(client.pull(what, caller=new_caller("/api/pull")))):
            self.tell(f"pulled {what}")
        self._read()

    async def action_fetch_starter(self) -> None:
        """Fetch the starter model, as long as there is no other."""
        if self._is_read and not self._models and not self._snapshot.transfers:
            self._pull(self.workbench.starter)

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_delete(self) -> None:
        """Show what deleting the marked models, or the one under the cursor, frees; delete on a yes."""
        model = self.highlighted
        names = sorted(self._marked) or ([model.name] if model is not None else [])
        plan = await self.try_verb(lambda client: client.plan_delete(names)) if names else None
        if plan is None or not await self.app.push_screen_wait(delete_dialog(plan)):
            return
        for name in plan.models:
            await self.try_verb(lambda client, name=name: client.delete(name))  # type: ignore[misc]
        self._read()

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_copy(self) -> None:
        """Ask for a second name of the model under the cursor."""
        if (model := self.highlighted) is None:
            return
        dialog = AskDialog("Copy", [f"A second name for {model.name}; no bytes are copied."], check=check_model_name)
        if answer := await self.app.push_screen_wait(dialog):
            await self.try_verb(lambda client: client.copy(model.name, answer))
            self._read()

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask whether to stop a transfer: the one under the cursor, else the only one."""
        strip = self.query_one(Transfers)
        transfers = {one.id: one for one in self._snapshot.transfers}
        key = strip.highlighted_key if strip.has_focus or len(transfers) == 1 else None
        if key is None or key not in transfers:
            if transfers:
                strip.focus()
            return
        dialog = ConfirmDialog("Cancel this transfer?", [f"  {transfers[key].model}"], "Cancel it", "No, go on")
        if await self.app.push_screen_wait(dialog):
            await self.try_verb(lambda client: client.cancel(key))

    @work(group="ask", exclusive=True, exit_on_error=False)
    async def action_edit(self) -> None:
        """Open the model's Modelfile in the editor."""
        if (model := self.highlighted) is not None:
            details = await self.try_verb(lambda client: client.show(model.name))
            if details is not None:
                await self.workbench.action_go(Where.FILE)
                screen = self.app.screen_stack[0]
                if isinstance(screen, ModelfileScreen):
                    screen.open_text(model.name, details.modelfile)

    def action_mark(self) -> None:
        """Mark or unmark the model under the cursor and go on to the next."""
        if (key := self.table.highlighted_key) is not None:
            self._marked ^= {key}
            self.table.action_cursor_down()
            self._draw()

    def action_invert_marks(self) -> None:
        """Mark what is shown and not marked, unmark what is marked."""
        self._marked = set(self.table.keys_shown) - self._marked
        self._draw()

    def action_sort(self) -> None:
        """Sort by the next column."""
        sort_by = self._listing.sort_by.following
        self._listing = replace(self._listing, sort_by=sort_by, is_descending=sort_by.starts_descending)
        self._draw()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._listing = replace(self._listing, is_descending=not self._listing.is_descending)
        self._draw()

    def action_find(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).open()

    def action_back(self) -> None:
        """Clear the filter, else the marks."""
        bar = self.query_one(FilterBar)
        if bar.has_class("-open"):
            bar.close()
            self.table.focus()
        elif self._marked:
            self._marked.clear()
            self._draw()

    def action_info(self) -> None:
        """Show or hide the details."""
        self._info_wanted = not self.has_class("-info")
        self._place_info()
        self.call_after_refresh(self._draw)
        self._show_info()

    def action_again(self) -> None:
        """Read the list again."""
        self._read()
