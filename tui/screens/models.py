"""Models: what lies on disk, what is being fetched, and what can be done with a model."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from corral.runtime.errors import RunError
from corral.runtime.snapshot import ModelState, Snapshot
from corral.runtime.upkeep import Fit, LoadPlan
from corral.runtime.verbs import FOREVER, ModelSummary
from corral.store.errors import StoreError
from corral.tui.actions import Where
from corral.tui.figures import size
from corral.tui.link import ServiceLink
from corral.tui.screens.model_verbs import ModelVerbs
from corral.tui.screens.modelfile import ModelfileScreen
from corral.tui.text import clean_line
from corral.tui.widgets import model_table
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.keyed_table import KeyedTable
from corral.tui.widgets.loaded_table import load_words
from corral.tui.widgets.model_info import ModelInfo, load_plan_words
from corral.tui.widgets.model_table import Listing, Sight, SortBy
from corral.tui.widgets.panel import Panel
from corral.tui.widgets.transfers import Transfers

__all__ = ["ModelsScreen"]

_OF_A_MODEL = frozenset({"open", "load", "unload", "delete", "pin", "mark", "copy", "rename", "copy_name", "edit"})
_RESTS_S = 0.1
_STORE_EVENTS = frozenset({"pull", "create", "delete", "copy"})


class ModelsScreen(ModelVerbs):
    """The models on disk. The listing is read again whenever the service says that the store changed."""

    WHERE: ClassVar[Where] = Where.MODELS
    CHANGING: ClassVar[frozenset[str]] = frozenset(
        {"unload", "pull", "delete", "copy", "rename", "update", "push", "import_file", "clean_up", "fetch_starter"}
        | {"pause", "resume", "drop", "cancel"}
    )
    AUTO_FOCUS = "#models-table"
    DEFAULT_CSS = """
    #models-top { height: 1fr; layout: horizontal; }
    #models-panel { width: 2fr; }
    #info-panel { width: 42; display: none; }
    #models-foot { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    #models-empty { height: 1fr; content-align: center middle; text-align: center; display: none; }
    #models-panel.-none KeyedTable { height: 1; }
    #models-panel.-none #models-empty { display: block; }
    #transfers-panel { height: auto; max-height: 8; display: none; }
    #transfers-panel.-some { display: block; }
    #transfers-panel Transfers { height: auto; max-height: 6; }
    ModelsScreen.-info #info-panel { display: block; }
    ModelsScreen.-table #info-panel { width: 2fr; }
    ModelsScreen.-info.-normal #models-top, ModelsScreen.-info.-narrow #models-top { layout: vertical; }
    ModelsScreen.-info.-normal #models-panel, ModelsScreen.-info.-narrow #models-panel { width: 1fr; }
    ModelsScreen.-info.-normal #info-panel, ModelsScreen.-info.-narrow #info-panel { width: 1fr; height: 10; }
    ModelsScreen.-info.-short #models-foot, ModelsScreen.-info.-short #transfers-panel { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._models: tuple[ModelSummary, ...] = ()
        self._fits: dict[str, tuple[Fit, ...]] = {}
        self._listing = Listing()
        self._marked: set[str] = set()
        self._last_marked = ""
        self._store_sign: object = None
        self._is_read = False
        self._info_wanted: bool | None = None
        self._residents: frozenset[tuple[str, ModelState]] = frozenset()
        self._load_plan: LoadPlan | None = None
        self._shown_link: ServiceLink | None = None

    def compose_body(self) -> ComposeResult:
        """List and details side by side, transfers below."""
        self._place_info()
        with Horizontal(id="models-top"):
            with Panel("Models", widget_id="models-panel"):
                yield FilterBar(widget_id="models-filter")
                yield KeyedTable(widget_id="models-table")
                yield Static("", id="models-empty", markup=False)
                yield Static("", id="models-foot", markup=False)
            with Panel("Details", widget_id="info-panel"):
                yield ModelInfo()
        with Panel("Transfers", widget_id="transfers-panel"):
            yield Transfers(glyphs=self.workbench.glyphs)

    @property
    def table(self) -> KeyedTable:
        """The list."""
        return self.query_one("#models-table", KeyedTable)

    @property
    def highlighted(self) -> ModelSummary | None:
        """The model under the cursor."""
        key = self.table.highlighted_key
        return next((model for model in self._models if model.name == key), None)

    @property
    def models(self) -> tuple[ModelSummary, ...]:
        """The models on disk."""
        return self._models

    @property
    def every_name(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(model.name for model in self._models)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The marked models, else the one under the cursor."""
        model = self.highlighted
        return tuple(sorted(self._marked)) or ((model.name,) if model is not None else ())

    @property
    def models_meant(self) -> tuple[str, ...]:
        """The chosen ones."""
        return self.chosen

    @property
    def pinned(self) -> frozenset[str]:
        """The models that stay in memory for ever."""
        stays = [model for model in self.snapshot.models if model.expires_in_s == FOREVER]
        return frozenset(name for model in stays for name in (model.name, *model.aliases))

    def refusal(self, action: str) -> str:
        """Why an action would come to nothing now."""
        if why := super().refusal(action):
            return why
        if action in _OF_A_MODEL and self.highlighted is None and not self._marked:
            return "no model is under the cursor"
        return ""

    def on_mount(self) -> None:
        """Read the store."""
        self.table.focus()
        self._read()

    def on_screen_resume(self) -> None:
        """Read the store again: other programs write it too."""
        if self._shown_link is not self.link:
            self._shown_link = self.link
            self.forget_server()
        self._read()

    def forget_server(self) -> None:
        """Neither marks nor what fits its memory are those of the server that is shown now."""
        super().forget_server()
        self._marked.clear()
        self._fits.clear()

    def on_resize(self) -> None:
        """Choose the columns and the place of the details anew."""
        self._place_info()
        self.call_after_refresh(self._draw)

    def _place_info(self) -> None:
        self.set_class(self.app.size.width >= 120 if self._info_wanted is None else self._info_wanted, "-info")

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw what is in memory and what is being fetched."""
        self.snapshot = snapshot
        newest = next((event.wall_s for event in snapshot.events if event.kind in _STORE_EVENTS), 0.0)
        sign = (frozenset(transfer.id for transfer in snapshot.transfers), newest)
        if sign != self._store_sign:
            self._store_sign = sign
            self._read()
            self.read_unfinished()
            self._is_asking = True
        self.draw_transfers()
        self._draw()
        residents = frozenset((one.digest, one.state) for one in snapshot.models)
        if residents != self._residents:
            self._residents = residents
            self._preview_load()

    def reread(self) -> None:
        """Read the listing again."""
        self._read()

    def redraw(self) -> None:
        """Draw the list again."""
        self._draw()

    def focus_list(self) -> None:
        """Give the keys to the list."""
        self.table.focus()

    @work(exclusive=True, group="listing", exit_on_error=False)
    async def _read(self) -> None:
        models = await self.try_verb(lambda client: client.list_models())
        if models is not None:
            self._is_read = True
            self._models = tuple(models)
            names = {model.name for model in models}
            self._marked &= names
            self.newer &= names
            self._draw()
            self.draw_keys()
            self._weigh()

    @work(exclusive=True, group="weigh", exit_on_error=False)
    async def _weigh(self) -> None:
        """Ask of every model at which contexts it fits the memory."""
        for model in self._models:
            if model.digest not in self._fits:
                try:
                    fits = await self.link.call(lambda client, name=model.name: client.fits(name))  # type: ignore[misc]
                except (StoreError, RunError):
                    continue  # a damaged model; its details say what is wrong
                self._fits[model.digest] = tuple(fits)
        self._draw()
        self._show_info()

    def _sight(self) -> Sight:
        states = {name: model.state for model in self.snapshot.models for name in (model.name, *model.aliases)}
        fits = {model.name: self._fits.get(model.digest, ()) for model in self._models}
        loading = [model for model in self.snapshot.models if model.state is ModelState.LOADING]
        loads = {name: load_words(model) for model in loading for name in (model.name, *model.aliases)}
        return Sight(states, self.pinned, self._marked, self.newer, self.going, fits, loads)

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        listing = self._listing
        table = self.table
        now = datetime.fromtimestamp(self.snapshot.wall_s, UTC) if self.snapshot.wall_s else datetime.now(UTC)
        table.set_columns(
            model_table.columns(table.size.width), sorted_by=listing.sort_by, is_descending=listing.is_descending
        )
        rows = model_table.rows(self._models, listing, self._sight(), now)
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
        if self.snapshot.transfers:
            return "The first model is on its way."
        return f"No models yet.\n\nf fetches the starter model ({self.workbench.starter})\np pulls another one"

    def _foot_text(self) -> str:
        host = self.snapshot.host
        disk = f"disk {size(host.disk_free)} free" if host is not None else ""
        if going := self.going:
            return f"✗ {len(going)} will be deleted in {max(going.values()):.0f} s · U keeps them   {disk}"
        if self._marked:
            marked = sum(model.size for model in self._models if model.name in self._marked)
            return f"✓ {len(self._marked)} marked · {size(marked)} · d u l P act on them   {disk}"
        if (told := load_plan_words(self._load_plan)) and not self.has_class("-info"):
            return f"{self._load_plan.model if self._load_plan else ''}: {told}   {disk}"
        return f"{disk}   {model_table.CAPABILITY_LEGEND}" if self.table.size.width >= 70 and self._models else disk

    @on(KeyedTable.Highlighted, "#models-table")
    def _highlighted(self) -> None:
        self.draw_keys()
        self._show_info()
        self._preview_load()

    @work(exclusive=True, group="room", exit_on_error=False)
    async def _preview_load(self) -> None:
        """Ask what loading the model under the cursor would put out, once the cursor rests."""
        await asyncio.sleep(_RESTS_S)
        model, plan = self.highlighted, None
        if model is not None and not model.remote_host:
            with contextlib.suppress(StoreError, RunError):
                plan = await self.link.call(lambda client: client.plan_load(model.name))
        if plan != self._load_plan:
            self._load_plan = plan
            self.write("#models-foot", self._foot_text())
            self._show_info()

    @work(exclusive=True, group="info", exit_on_error=False)
    async def _show_info(self) -> None:
        info = self.query_one(ModelInfo)
        model = self.highlighted
        if model is None or not self.has_class("-info"):
            info.say("")
            return
        self.query_one("#info-panel", Panel).entitle(model.name, "[ ] parts · Tab, then / s in tables")
        try:
            details = await self.link.call(lambda client: client.show(model.name))
            plan = self._load_plan if self._load_plan is not None and self._load_plan.model == model.name else None
            info.show(model, details, self._fits.get(model.digest, ()), plan)
        except (StoreError, RunError) as error:
            info.say(str(error))

    @on(ModelInfo.Turned)
    def _turned(self, event: ModelInfo.Turned) -> None:
        self.set_class(event.is_table, "-table")
        self.call_after_refresh(self._draw)

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

    async def action_fetch_starter(self) -> None:
        """Fetch the starter model, as long as there is no other."""
        if self._is_read and not self._models and not self.snapshot.transfers:
            self.pull(self.workbench.starter)
        elif self._models:
            self.tell("the starter model is for an empty list: p pulls any other")

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
            self._last_marked = key
            self.table.action_cursor_down()
            self._draw()

    def action_mark_range(self) -> None:
        """Mark everything from where was marked last to the cursor."""
        shown, here = self.table.keys_shown, self.table.highlighted_key
        if here is not None:
            start = shown.index(self._last_marked) if self._last_marked in shown else 0
            end = shown.index(here)
            self._marked |= set(shown[min(start, end) : max(start, end) + 1])
            self._last_marked = here
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

    @on(KeyedTable.HeaderChosen, "#models-table")
    def _header_chosen(self, event: KeyedTable.HeaderChosen) -> None:
        if event.column in set(SortBy):
            chosen = SortBy(event.column)
            is_same = chosen is self._listing.sort_by
            is_descending = not self._listing.is_descending if is_same else chosen.starts_descending
            self._listing = replace(self._listing, sort_by=chosen, is_descending=is_descending)
            self._draw()

    def action_find(self) -> None:
        """Type a filter."""
        self.query_one("#models-filter", FilterBar).open()

    def action_back(self) -> None:
        """Clear the filter, else the marks."""
        bar = self.query_one("#models-filter", FilterBar)
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

    def action_tab(self, step: int) -> None:
        """Show another part of the details, which come up if they are hidden."""
        if not self.has_class("-info"):
            self.action_info()
        self.query_one(ModelInfo).turn(step)

    def action_again(self) -> None:
        """Read the list again."""
        self._read()
