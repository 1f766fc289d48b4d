"""The line after `:` with what it can become above it. Tab takes a proposal, Enter does what stands there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from corral.runtime.errors import RunError
from corral.runtime.upkeep import SettingView
from corral.store.errors import StoreError
from corral.tui.actions import Where
from corral.tui.dialogs.dialog import Dialog
from corral.tui.line_commands import Candidate, Words, candidates
from corral.tui.screen_settings import all_settings, choices_of
from corral.tui.text import clean_line

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["CommandLine"]

_SHOWN = 8
_NAME_CELLS = 26


class CommandLine(Dialog[str | None]):
    """Gives the line that was entered, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="line.close", priority=True),
        Binding("tab", "complete", "Complete", id="line.complete", priority=True),
        Binding("up", "previous", show=False, priority=True),
        Binding("down", "next", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    CommandLine { align: left bottom; background: transparent; }
    CommandLine > Vertical { height: auto; width: 1fr; background: $surface; border-top: heavy $border; }
    CommandLine OptionList { height: auto; max-height: 8; border: none; padding: 0 1; background: $surface; }
    CommandLine OptionList { text-wrap: nowrap; text-overflow: ellipsis; }
    CommandLine Horizontal { height: 1; padding: 0 1; }
    CommandLine Horizontal > Static { width: 1; }
    CommandLine Input { width: 1fr; border: none; height: 1; padding: 0; background: transparent; }
    CommandLine Input:focus { border: none; }
    """

    def __init__(self, where: Where, history: list[str], begun: str = "") -> None:
        """`begun` is what stands in the line already."""
        super().__init__()
        self._begun = begun
        self._settings: tuple[SettingView, ...] = ()
        self._where = where
        self._history = history
        self._age = 0
        self._models: tuple[str, ...] = ()
        self._proposed: list[Candidate] = []

    def compose(self) -> ComposeResult:
        """Proposals above the line."""
        with Vertical():
            proposals = OptionList(markup=False)
            proposals.can_focus = False
            yield proposals
            with Horizontal():
                yield Static(":", markup=False)
                yield Input(
                    self._begun, compact=True, select_on_focus=False, placeholder="Tab completes · ↑ earlier ones · Esc"
                )

    def on_mount(self) -> None:
        """Let it be typed at once, and fetch the names of the models meanwhile."""
        self.query_one(Input).focus()
        self._propose()
        self._fetch_models()

    @property
    def _workbench(self) -> WorkbenchApp:
        return cast("WorkbenchApp", self.app)

    @work(exclusive=True, exit_on_error=False)
    async def _fetch_models(self) -> None:
        try:
            found = await self._workbench.link.call(lambda client: client.list_models())
        except (RunError, StoreError):
            return  # the line works without
        self._models = tuple(clean_line(one.name) for one in found)
        self._propose()
        with contextlib.suppress(RunError, StoreError):
            self._settings = tuple(await all_settings(self._workbench))
            self._propose()

    def _propose(self) -> None:
        line = self.query_one(Input)
        app = self._workbench
        words = Words(
            self._models,
            sorted(app.available_themes),
            app.hosts.words(),
            self._where,
            app.keys.changed,
            {one.name: one for one in self._settings},
            lambda name: choices_of(app, name),
            app.preferences.commands,
        )
        self._proposed = candidates(line.value, words)
        proposals = self.query_one(OptionList)
        proposals.set_options(
            Option(Content.assemble((f"{one.line:<{_NAME_CELLS}}", "bold"), " ", (one.about, "dim")))
            for one in self._proposed[: 10 * _SHOWN]
        )
        proposals.display = bool(self._proposed)
        if self._proposed:
            proposals.highlighted = 0

    @on(Input.Changed)
    def _changed(self) -> None:
        self._propose()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        line = " ".join(event.value.split())
        self.dismiss(line or None)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self._take(event.option_index)

    def action_complete(self) -> None:
        """Take the proposal under the cursor."""
        if (place := self.query_one(OptionList).highlighted) is not None:
            self._take(place)

    def _take(self, place: int) -> None:
        self._type(f"{self._proposed[place].line} ")

    def _type(self, text: str) -> None:
        line = self.query_one(Input)
        line.value = text
        line.cursor_position = len(text)

    def action_previous(self) -> None:
        """The proposal above; in an empty line, or among earlier ones, the one before."""
        if self._age or not self.query_one(Input).value:
            self._recall(1)
        else:
            self.query_one(OptionList).action_cursor_up()

    def action_next(self) -> None:
        """The proposal below; among earlier lines the one after."""
        if self._age:
            self._recall(-1)
        else:
            self.query_one(OptionList).action_cursor_down()

    def _recall(self, step: int) -> None:
        self._age = min(max(self._age + step, 0), len(self._history))
        self._type(self._history[-self._age] if self._age else "")

    def action_close(self) -> None:
        """Do nothing."""
        self.dismiss(None)
